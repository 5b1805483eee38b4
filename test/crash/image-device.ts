// A small file system on a loop device of its own, as root on Linux: its device fails when it is told to, it loses its power, it is
// frozen or taken away. What a real kernel makes of that is what the broker meets.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { projectFolder } from '../process/run-program.ts'

export function runTool(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
}

export class ImageDevice {
  readonly path: string
  readonly #image: string

  /**
   * ext4, mounted at `path`, a folder that is there.
   * @param hasJournal with a journal it becomes read-only after an error, until it is mounted anew; without one it stays writable
   */
  constructor(path: string, { hasJournal = true, mebibytes = 64 } = {}) {
    this.path = path
    this.#image = `${path}.image`
    writeFileSync(this.#image, '')
    truncateSync(this.#image, mebibytes * 1024 ** 2)
    runTool('mkfs.ext4', '-q', ...(hasJournal ? [] : ['-O', '^has_journal']), this.#image)
    this.mount()
  }

  mount(): void {
    runTool('mount', '-o', 'loop', this.#image, this.path)
  }

  /** What was read before is read from the device again. */
  unmount(): void {
    runTool('umount', this.path)
  }

  /** The device answers each write with EIO: nobody may write to what is behind it. */
  failWrites(): void {
    runTool('chattr', '+i', this.#image)
  }

  endFailing(): void {
    runTool('chattr', '-i', this.#image)
  }

  /** As after an error that it can't live with: it is read-only until it is mounted anew. */
  becomeReadOnly(): void {
    runTool('mount', '-o', 'remount,errors=remount-ro', this.path)
    const { stdout } = spawnSync('findmnt', ['-no', 'SOURCE', this.path], { encoding: 'utf8' })
    writeFileSync(`/sys/fs/ext4/${basename(stdout.trim())}/trigger_fs_error`, '1')
  }

  freeze(): void {
    runTool('fsfreeze', '-f', this.path)
  }

  thaw(): void {
    runTool('fsfreeze', '-u', this.path)
  }

  /** What is not on the device is lost, and nothing is written or read any more until it is mounted anew. */
  cutPower(): void {
    const program = `${this.path}.shut-down`
    if (!existsSync(program)) runTool('cc', '-o', program, join(projectFolder, 'test/crash/shut-down.c'))
    runTool(program, this.path)
  }

  /** From this byte on the device answers each read with EIO: there is nothing behind it any more. */
  loseFrom(byte: number): void {
    truncateSync(this.#image, byte)
  }

  /** Whatever state it is in. */
  destroy(): void {
    spawnSync('chattr', ['-i', this.#image])
    spawnSync('fsfreeze', ['-u', this.path])
    spawnSync('umount', ['-l', this.path])
  }
}

/** Whether this machine can: a container may have no loop devices. */
export function hasImageDevices(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const folder = mkdtempSync(join(tmpdir(), 'atoll-image-'))
  let device: ImageDevice | null = null
  try {
    const path = join(folder, 'data')
    mkdirSync(path)
    device = new ImageDevice(path)
    device.failWrites()
    device.endFailing()
    return true
  } catch {
    return false
  } finally {
    device?.destroy()
    rmSync(folder, { recursive: true })
  }
}
