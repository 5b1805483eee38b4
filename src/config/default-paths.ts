// Where files lie unless the configuration says otherwise: the system's folders for root, the XDG folders for everyone else.
import { isAbsolute, join } from 'node:path'

export interface DefaultPaths {
  /** Folder of atoll.yaml. */
  configDirectory: string
  runDir: string
  dataDir: string
  logDir: string
}

/**
 * @param uid account of the process; 0 gets the folders of the system
 * @returns null when neither HOME nor the XDG variables say where the folders of the account are
 */
export function defaultPaths(
  uid: number,
  environment: Readonly<Record<string, string | undefined>>,
): DefaultPaths | null {
  if (uid === 0) {
    return {
      configDirectory: '/etc/atoll',
      runDir: '/run/atoll',
      dataDir: '/var/lib/atoll',
      logDir: '/var/log/atoll',
    }
  }
  // The XDG specification: a path that is not absolute is to be taken for missing.
  const folder = (name: string, underHome: string): string | null => {
    const value = environment[name]
    if (value !== undefined && isAbsolute(value)) return join(value, 'atoll')
    const home = environment.HOME
    return home !== undefined && isAbsolute(home) ? join(home, underHome, 'atoll') : null
  }
  const config = folder('XDG_CONFIG_HOME', '.config')
  const data = folder('XDG_DATA_HOME', '.local/share')
  const state = folder('XDG_STATE_HOME', '.local/state')
  if (config === null || data === null || state === null) return null
  const runtime = environment.XDG_RUNTIME_DIR
  return {
    configDirectory: config,
    // Without a runtime folder a private one: nothing below /tmp, where anyone could have been first.
    runDir: runtime !== undefined && isAbsolute(runtime) ? join(runtime, 'atoll') : join(state, 'run'),
    dataDir: data,
    logDir: join(state, 'log'),
  }
}
