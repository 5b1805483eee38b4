// The most pages that a transaction of LMDB can take for some changes, and what the free pages of its file give of them for certain.
// LMDB never writes over a page in use: what is changed is copied first, so even what only deletes takes pages. Knows no disk.
import type { Batch } from './batch.ts'
import type { TreeStats } from './lmdb-file.ts'

/** What the engine writes in one transaction. */
export type Changes = Pick<
  Batch,
  'sessions' | 'subscriptions' | 'inbound' | 'messages' | 'deliveries' | 'retained' | 'reservation' | 'isFreshMessage'
>

/** In pages. */
export interface PageNeed {
  /** Taken one by one. */
  readonly single: number
  /** Taken in runs, and the longest of them. */
  readonly long: number
  readonly longest: number
}

const pageHeaderBytes = 24
/** A record above this may get pages of its own: half a page, less what this file does not know of its layout. */
const inlineShare = 0.4
/** Head of a record in its page, its key, and what the layout adds to the bytes it is made of. */
const recordBytes = 80
/** The longest packet of MQTT. */
const mostMessageBytes = 2 ** 28
/** A filter and a share name, or two. */
const mostNamesBytes = 2 ** 18
const pageNumberBytes = 8

/** @param removals records that are removed beyond the changes */
export function pageNeedOf(
  changes: Changes,
  removals: number,
  pageSize: number,
  tree: TreeStats,
  freeTree: TreeStats,
): PageNeed {
  let puts = 0
  let inlineBytes = 0
  let long = 0
  let longest = 0
  /** Places of the tree where something changes: what is new in one place lies on pages of its own. */
  let places = removals
  /** Records that may free long values, and those of which the value can only be some names long. */
  let freeing = 0
  let freeingNames = removals
  const put = (bytes: number) => {
    puts++
    inlineBytes += recordBytes
    if (bytes <= pageSize * inlineShare) inlineBytes += bytes
    else {
      const pages = Math.ceil((bytes + recordBytes + pageHeaderBytes) / pageSize)
      long += pages
      longest = Math.max(longest, pages)
    }
  }
  if (changes.reservation !== null) {
    places++
    put(0)
  }
  for (const record of changes.sessions.values()) {
    places++
    freeing++
    if (record === null) continue
    const { clientId, username, group, listener, mountPoint, will } = record
    const characters = clientId.length + (username?.length ?? 0) + (group?.length ?? 0) + listener.length
    put(3 * (characters + mountPoint.length) + (will?.packet.length ?? 0))
  }
  for (const nested of changes.subscriptions.values()) {
    places += nested.size
    for (const { filter, shareName, record } of nested.values()) {
      if (record !== null) put(3 * (filter.length + (shareName?.length ?? 0)))
    }
    freeingNames += nested.size
  }
  for (const nested of changes.inbound.values()) {
    places += nested.size
    for (const isPresent of nested.values()) if (isPresent) put(0)
  }
  let hasFreshMessage = false
  for (const [messageNumber, record] of changes.messages) {
    if (record === null || !changes.isFreshMessage(messageNumber)) {
      places++
      freeing++
    } else hasFreshMessage = true
    if (record !== null) put(record.packet.length)
  }
  if (hasFreshMessage) places++
  for (const nested of changes.deliveries.values()) {
    let hasFreshDelivery = false
    for (const record of nested.values()) {
      // New orders of a Session follow all that it has.
      if (record === null || !changes.isFreshMessage(record.messageNumber)) places++
      else hasFreshDelivery = true
      if (record === null) continue
      const shareCharacters = record.share === null ? 0 : record.share.filter.length + record.share.shareName.length
      put(3 * shareCharacters + 4 * (record.identifiers?.length ?? 0))
    }
    if (hasFreshDelivery) places++
  }
  for (const [topic, record] of changes.retained) {
    places++
    freeing++
    if (record !== null) put(3 * topic.length + record.packet.length)
  }
  // A page that is left with little is joined with its neighbour, which is copied as well.
  const touchedLeaves = Math.min(2 * places, tree.leafPages)
  const touchedBranches = Math.min(2 * places * Math.max(0, tree.depth - 1), tree.branchPages)
  // A full page is split by whatever is added; afterwards each is at least half full.
  const newLeaves = Math.min(puts, touchedLeaves) + Math.ceil((2 * inlineBytes) / (pageSize - pageHeaderBytes))
  const newBranches = Math.min(newLeaves, touchedBranches) + Math.ceil(newLeaves / 16) + 2
  const mostFreedBytes = freeing * mostMessageBytes + freeingNames * mostNamesBytes
  const freedLong = Math.min(tree.overflowPages, Math.ceil(mostFreedBytes / pageSize) + freeing + freeingNames)
  // The list of what this transaction frees is one value, made anew when it has to grow; what there is of lists is rewritten.
  const freeTreePages = freeTree.branchPages + freeTree.leafPages + freeTree.overflowPages
  const freedPages = freedLong + touchedLeaves + touchedBranches + freeTreePages
  const listPages = Math.ceil((freedPages * pageNumberBytes + recordBytes) / pageSize)
  return {
    single: touchedLeaves + touchedBranches + newLeaves + newBranches + 2 * freeTreePages + 8,
    long: long + 2 * listPages + freeTreePages,
    longest: Math.max(longest, listPages, freeTreePages),
  }
}

const leastChanges = 8

/** How many changes, each in a place of its own, so many new pages are enough for, with some to spare. */
export function changesFor(pages: number, tree: TreeStats): number {
  const usable = (pages * 3) / 4
  // A leaf, its neighbour, and as much again where it is split; above them either what each of those needs, or all there is.
  const withOwnBranches = usable / (4 * Math.max(1, tree.depth))
  const withAllBranches = (usable - 2 * tree.branchPages) / 4
  return Math.max(leastChanges, Math.floor(Math.max(withOwnBranches, withAllBranches)))
}

/**
 * The most pages by which the file grows.
 *
 * Whatever is taken first, and wherever: when no run has room for one more of `longest`, all but `longest - 1` pages of each
 * have been taken. And whatever becomes of the long ones, no single page is added while one is free.
 * @param runs lengths of the runs of free pages
 */
export function growthPages({ single, long, longest }: PageNeed, runs: readonly number[]): number {
  let free = 0
  let certain = 0
  for (const length of runs) {
    free += length
    certain += Math.max(0, length - longest + 1)
  }
  return Math.min(Math.max(0, single + long - certain), long + Math.max(0, single - Math.max(0, free - long)))
}
