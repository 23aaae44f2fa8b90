// What this version of Keyway does not serve: a clear error that names the command. When one of
// these is served, its line in `served` makes way for checks of what it does.

/** `calls`: the library's way to say each. */
export async function notYet(check, key, calls) {
  for (const [name, call] of Object.entries(calls)) {
    await check.rejects([`'${name}'`], `${name}, not served yet`, () => call(key("{not-yet}")));
  }
}
