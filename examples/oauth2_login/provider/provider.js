// An OpenID provider for this computer only. Any name logs in, with any password.
//
//     node provider.js <address of the shop> [port]
//
// It says its address in the first line that it prints, and ends when its input ends: whoever
// started it is gone then.
import { randomBytes, webcrypto } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

// Its warnings are about production.
console.warn = () => {};
const { default: Provider } = await import("oidc-provider");

const [shop, port = "0"] = process.argv.slice(2);

const server = createServer().listen(Number(port), "127.0.0.1");
await once(server, "listening");
// Another host name than the shop's, so that they are two sites for the browser: neither sees
// the cookies of the other, and the way back to the shop is one from site to site.
const issuer = `http://localhost:${server.address().port}`;

const pair = await webcrypto.subtle.generateKey(
  { name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"],
);
const key = await webcrypto.subtle.exportKey("jwk", pair.privateKey);

const provider = new Provider(issuer, {
  clients: [{
    client_id: "shop",
    client_secret: process.env.SHOP_SECRET ?? "only-for-this-computer",
    client_name: "Leaf & Kettle",
    redirect_uris: [`${shop}/login/oauth2/code/accounts`],
    post_logout_redirect_uris: [`${shop}/`],
    // Called when somebody logs out here, whichever application they came from.
    backchannel_logout_uri: `${shop}/logout/connect/back-channel/accounts`,
    backchannel_logout_session_required: true,
    id_token_signed_response_alg: "ES256",
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], profile: ["name"], email: ["email"] },
  findAccount: (_, name) => ({
    accountId: name,
    claims: () => ({ sub: name, name: title(name), email: `${name}@example.test` }),
  }),
  features: {
    devInteractions: { enabled: true }, // pages for the login and the consent
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  jwks: { keys: [{ kid: "local", alg: "ES256", use: "sig", kty: key.kty, crv: key.crv, x: key.x, y: key.y, d: key.d }] },
  // Without its dispatcher, which calls nobody on this computer.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  cookies: { keys: [randomBytes(32).toString("hex")] },
});

// The pages fetch a font from the network; they get a style of their own instead.
const style = readFileSync(new URL("style.css", import.meta.url), "utf8");
provider.use(async (context, next) => {
  await next();
  if (typeof context.body === "string") {
    context.body = context.body.replace(/<style>[^]*?<\/style>/, () => `<style>${style}</style><link rel="icon" href="data:,">`);
  }
});

provider.on("backchannel.error", (_, error) => console.error(`The shop took no logout: ${error}`));
server.on("request", provider.callback());
process.stdin.on("end", () => process.exit()).resume();
console.log(issuer);

function title(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
