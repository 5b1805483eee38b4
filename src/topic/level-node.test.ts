import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { LevelNode } from './level-node.ts'

class Node extends LevelNode<Node> {
  readonly isEmpty = false
}

test('a level does not hold the memory of the long topic that it is a part of', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const before = process.memoryUsage().heapUsed
  const nodes: Node[] = []
  for (let index = 0; index < 200; index++) {
    const topic = Buffer.from(`a level of its own ${index}/${'x'.repeat(500_000)}`).toString('latin1')
    nodes.push(new Node(null, topic.slice(0, topic.indexOf('/'))))
  }
  collect()
  const grownBytes = process.memoryUsage().heapUsed - before
  assert.ok(grownBytes < 10_000_000, `${grownBytes} bytes are held`)
  assert.equal(nodes[7].level, 'a level of its own 7')
})
