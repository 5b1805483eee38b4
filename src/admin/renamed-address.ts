// The address of a listener in an instance that is made from another one.

/** The path of a socket with the name of the other instance; any other address as it is, for the conflict check to judge. */
export function renamedAddress(address: string, from: string, to: string): string {
  if (!address.startsWith('unix:')) return address
  return address.replaceAll(/[A-Za-z0-9_-]+/g, (word) => (word === from ? to : word))
}
