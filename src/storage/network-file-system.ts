// Whether a folder is on a file system that is somebody else's over a network: LMDB maps its file into memory and relies
// on locks and on the order of writes, which such file systems do not promise.
import { statfs } from 'node:fs/promises'

/** Magic numbers of statfs(2). */
const names = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x564c, 'NCP'],
  [0x73757245, 'Coda'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x01021997, '9p'],
])

/** Its name, or null for a local one and where the platform does not tell (only Linux does). */
export async function networkFileSystemOf(directory: string, platform: NodeJS.Platform): Promise<string | null> {
  if (platform !== 'linux') return null
  const { type } = await statfs(directory)
  return names.get(type >>> 0) ?? null
}
