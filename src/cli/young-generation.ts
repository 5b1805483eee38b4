// How much memory V8 gives to what is new. It takes more while a daemon starts, a moment that never comes again, and a process
// that idles afterwards never gives it back.
import { setFlagsFromString } from 'node:v8'

export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1')
}

/** As V8 does by itself: it grows with the load. */
export function letYoungGenerationGrow(): void {
  setFlagsFromString('--semi-space-growth-factor=2')
}
