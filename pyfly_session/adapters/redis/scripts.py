"""What the server does itself, for many sessions in one call.

A script reaches a session and the note of where it has gone in the same instant, and answers for
each key on its own: a value, nil, the new id within an array, or an error of that key alone.
"""

from __future__ import annotations

import hashlib
import re


def moved_key(key: str) -> str:
    """Return where it is noted under which id a session goes on; the same slot as its own key."""
    # A prefix with a hash tag of its own decides the slot.
    return f"{key}:moved" if "{" in key else f"{{{key}}}:moved"


def mark(value: bytes) -> bytes | str:
    """Return by what a script recognizes a stored value.

    That is how it begins, up to the version, which is new with every write; so the cost does not
    grow with the session. For a value that begins in another way it is the SHA-1.
    """
    front = _FRONT.match(value)
    # Nobody gains by making two versions of one session collide.
    return front[0] if front else hashlib.sha1(value, usedforsecurity=False).hexdigest()


OWN_IDLE_TIME = re.compile(rb'\{(?:[^{\[]*,)?"_max_inactive_interval":[0-9]{1,10}[,}]')
"""How the first bytes begin of a session whose own idle time a script finds."""
HEAD = 160
_FRONT = re.compile(rb'\{(?:"_[a-z_]+":[-+.0-9eE]+,)*"_version":"[0-9a-f]+"')

_NOTE = """
local function note(key)
    local tagged = string.find(key, '{', 1, true)
    local moved = redis.pcall('GET', tagged and key .. ':moved' or '{' .. key .. '}:moved')
    return moved and {moved}
end
"""
MAX_ANSWER = 4 * 1024 * 1024
"""From this size on an answer to loads takes no further session."""
ANOTHER_TIME = 2
"""Stands for a session that is to be asked for again."""
# KEYS: sessions. ARGV: seconds to live for each. A session that has an idle time of its own in
# front, as the codec writes it, lives exactly so long from now; any other is not cut short. With 0
# each is left as it is. When the answer has become large, the rest is to be asked for again.
_LOAD = """
local answers, size = {}, 0
for i, key in ipairs(KEYS) do
    local found = values and size < MAX_ANSWER and redis.pcall('GET', key)
    if not values then
        found = redis.pcall('GETRANGE', key, 0, 159)
        found = found ~= '' and found
    end
    if size >= MAX_ANSWER then
        answers[i] = ANOTHER_TIME
    elseif type(found) ~= 'string' then
        answers[i] = found or note(key)
    else
        local own, front = nil, string.sub(found, 1, 160)
        if string.find(front, '"_max_inactive_interval":', 1, true) then
            front = string.match(front, '^{[^{%[]*') or ''
            own = string.match(front, '[{,]"_max_inactive_interval":(%d+)[,}]')
            own = own and #own <= 10 and own
        end
        local lives = ARGV[i] ~= '0' and redis.pcall('TTL', key)
        if type(lives) == 'number' and (own or lives < tonumber(ARGV[i])) then
            lives = redis.pcall('EXPIRE', key, own or ARGV[i])
        end
        answers[i] = type(lives) == 'table' and lives or values and found or 1
        size = size + (values and #found or 0)
    end
end
return answers
""".replace("MAX_ANSWER", str(MAX_ANSWER)).replace("ANOTHER_TIME", str(ANOTHER_TIME))
# Whether a value is the one with this mark. One that is the new value already counts as replaced,
# since the caller could not tell.
_IS = """
local function is(current, mark)
    if string.byte(mark) == 123 then
        return string.sub(current, 1, #mark) == mark
    end
    return redis.sha1hex(current) == mark
end
"""
# KEYS: new sessions. ARGV: two for each: the value, seconds to live.
_CREATE = """
local answers = {}
for i, key in ipairs(KEYS) do
    local stored = redis.pcall('SET', key, ARGV[2 * i - 1], 'EX', ARGV[2 * i], 'NX')
    answers[i] = stored and (stored.err and stored or 1) or 0
end
return answers
"""
# KEYS: sessions. ARGV: four for each: the mark of what it has to be, the mark of the new value,
# the new value, seconds to live; 0 leaves the life as it is.
_SWAP = """
local answers = {}
for i, key in ipairs(KEYS) do
    local seen, new, value, ttl = unpack(ARGV, 4 * i - 3, 4 * i)
    local found
    if string.byte(new) == 123 and string.byte(seen) == 123 then
        found = redis.pcall('GETRANGE', key, 0, math.max(#seen, #new) - 1)
        found = found ~= '' and found
    else
        found = redis.pcall('GET', key)
    end
    if type(found) == 'table' then
        answers[i] = found
    elseif found and is(found, seen) then
        local stored = ttl == '0' and redis.pcall('SET', key, value, 'KEEPTTL')
            or redis.pcall('SET', key, value, 'EX', ttl)
        answers[i] = stored.err and stored or 1
    elseif found then
        answers[i] = is(found, new) and 1 or redis.pcall('GET', key)
    else
        answers[i] = note(key)
    end
end
return answers
"""
# KEYS: a session, its note. ARGV: the marks of what it has to be and of the new value, for how
# long to note where it is, and that.
_LEAVE = """
local found = redis.call('GET', KEYS[1])
if not found then
    return note(KEYS[1])
end
if not (is(found, ARGV[1]) or is(found, ARGV[2])) then
    return found
end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[3])
return 1
"""
TEXTS = {
    hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(): text
    for text in (
        _NOTE + "local values = true" + _LOAD,
        _NOTE + "local values = false" + _LOAD,
        _CREATE,
        _NOTE + _IS + _SWAP,
        _NOTE + _IS + _LEAVE,
    )
}
"""The scripts, by their digests."""
LOAD, SLIDE, CREATE, SWAP, LEAVE = TEXTS

# ARGV: a cursor, a pattern of keys, how many to look at, how long their common front is, how many
# bytes to return of each. Looks at keys that it was not given: only for a node of its own.
SCAN = """
local call, find, front, most = redis.pcall, string.find, ARGV[4] + 1, tonumber(ARGV[5])
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local found, n = {page[1]}, 1
for _, key in ipairs(page[2]) do
    if not find(key, ':', front, true) then
        local head = call('GETRANGE', key, 0, most - 1)
        if type(head) == 'string' and head ~= '' then
            found[n + 1], found[n + 2] = key, head
            found[n + 3] = #head < most and #head or call('STRLEN', key)
            found[n + 4] = call('PTTL', key)
            n = n + 4
        end
    end
end
return found
"""
"""Tells of some sessions, four values for each, behind the next cursor; ``0`` at the end."""
