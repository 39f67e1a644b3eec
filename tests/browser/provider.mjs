// The certified provider for one test: what it is told, it is told as JSON.
//
//     node provider.mjs <folder of node_modules> <redirect URIs as JSON>
//
// It says its address in the first line that it prints, changes its key from RSA to EC when it
// reads a line, and ends when its input ends.
import { randomBytes, webcrypto } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

console.warn = console.info = () => {};
const [modules, uris] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

const server = createServer().listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://localhost:${server.address().port}`;
const cookies = { keys: [randomBytes(32).toString("hex")] };
const algorithms = {
  RS256: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256" },
};

async function made(alg) {
  const { privateKey } = await webcrypto.subtle.generateKey(algorithms[alg], true, ["sign", "verify"]);
  const { key_ops, ext, ...key } = await webcrypto.subtle.exportKey("jwk", privateKey);
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "shop",
      client_secret: "only for this test/+",
      redirect_uris: JSON.parse(uris),
      id_token_signed_response_alg: alg,
    }],
    pkce: { required: () => true },
    findAccount: (_, name) => ({ accountId: name, claims: () => ({ sub: name }) }),
    features: { devInteractions: { enabled: true } },
    // The same name for another kind of key.
    jwks: { keys: [{ ...key, kid: "key", alg, use: "sig" }] },
    cookies,
  });
  return provider.callback();
}

let answer = await made("RS256");
server.on("request", (request, response) => answer(request, response));
createInterface({ input: process.stdin }).on("line", async () => {
  answer = await made("ES256");
  console.log("changed");
}).on("close", () => process.exit());
console.log(issuer);
