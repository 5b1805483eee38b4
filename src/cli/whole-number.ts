// A number on the command line: the parser of an option that takes whole numbers of a range.
import { InvalidArgumentError } from 'commander'

export function wholeNumber(smallest: number, largest: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^\d{1,10}$/.test(text) || value < smallest || value > largest) {
      throw new InvalidArgumentError(`Give a whole number from ${smallest} to ${largest}.`)
    }
    return value
  }
}
