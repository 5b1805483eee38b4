import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import { controlVerbs } from '../instance/control-verbs.ts'
import { requestLimit } from './admin-server.ts'
import { eventReaderLimit, heartbeatSeconds } from './event-stream.ts'
import { FollowUps, followUpLimit } from './follow-ups.ts'
import { apiBase, operationAddress } from './operation-address.ts'
import { bodyLimitBytes } from './read-params.ts'
import { type AdminFixture, startAdmin } from './stub-fleet.test.support.ts'

test('the address of every operation follows from its name, as its verb says', () => {
  assert.deepEqual(operationAddress('clients.list'), {
    method: 'GET',
    path: '/instances/{instance}/clients',
    hasInstance: true,
  })
  assert.equal(operationAddress('instances.show').path, '/instances/{instance}')
  assert.equal(operationAddress('instances.list').path, '/instances')
  assert.equal(operationAddress('fleet.apply').path, '/fleet/apply')
  for (const { name, isReading } of controlVerbs) {
    assert.equal(operationAddress(name).method, isReading ? 'GET' : 'POST', name)
  }
})

test('the socket is for its owner alone, and goes with the server', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  assert.equal(statSync(admin.socketPath).mode & 0o777, 0o600)
  await admin.stop()
  assert.ok(!existsSync(admin.socketPath))
  assert.equal(admin.fleet.readerCount, 0)
})

test('the OpenAPI document is one, and every operation in it answers', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const { json: document, headers } = await admin.send('GET', '/openapi.json')
  assert.equal(headers['content-type'], 'application/json; charset=utf-8')
  assert.equal(document.openapi, '3.1.0')
  assert.equal(document.info.version, '1.2.3')
  const ids = new Set<string>()
  for (const [path, methods] of Object.entries<Record<string, Operation>>(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const { operationId, summary, parameters = [], responses, requestBody } = operation
      assert.ok(!ids.has(operationId), operationId)
      ids.add(operationId)
      assert.match(summary, /^[A-Z].*\.$/, operationId)
      assert.ok('200' in responses && 'default' in responses, operationId)
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      assert.deepEqual(
        parameters.filter((one) => one.in === 'path').map(({ name }) => name),
        inPath,
      )
      for (const parameter of parameters) assert.ok(parameter.in === 'path' || method === 'get', operationId)
      assert.equal(requestBody !== undefined, method === 'post', operationId)
      if (operationId === 'api.events') continue
      const place = path.replace('{instance}', 'a')
      const answer = await admin.send(method.toUpperCase(), place, method === 'post' ? {} : undefined)
      // What has to be given is not given here: the operation says so by itself.
      assert.ok(![404, 405, 500].includes(answer.status), `${operationId} answers ${answer.text}`)
    }
  }
  for (const { name, isInternal } of controlVerbs) {
    assert.equal(ids.has(name), !isInternal && name !== 'instance.show', name)
  }
  assert.ok(ids.has('fleet.apply') && ids.has('instances.create') && ids.has('api.events'))
})

interface Operation {
  operationId: string
  summary: string
  parameters?: { name: string; in: string }[]
  responses: object
  requestBody?: object
}

test('parameters reach the verb in their own types', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const query = 'limit=5&connected=true&prefix=12&listener=x'
  assert.equal((await admin.send('GET', `/instances/a/clients?${query}`)).status, 200)
  assert.deepEqual(admin.fleet.calls.pop(), [
    'a',
    'clients.list',
    { limit: 5, connected: true, prefix: '12', listener: 'x' },
  ])
  assert.equal((await admin.send('POST', '/instances/b/clients/disconnect', { clientId: 'a/../"\u001b' })).status, 200)
  assert.deepEqual(admin.fleet.calls.pop(), ['b', 'clients.disconnect', { clientId: 'a/../"\u001b' }])
})

test('who goes away before the answer cancels the task that it is about, and nothing else', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const { fleet } = admin
  const leave = async (operation: string, body: object, answer: object) => {
    let letAnswer = (_answer: object) => {}
    const asked = new Promise<void>((resolve) => {
      fleet.answer = () => {
        fleet.answer = () => ({ isCancelled: true })
        resolve()
        return new Promise((give) => {
          letAnswer = give
        })
      }
    })
    const { path } = operationAddress(operation)
    const { socketPath } = admin
    const headers = { 'content-type': 'application/json' }
    const sent = request({ socketPath, method: 'POST', path: apiBase + path.replace('{instance}', 'a'), headers })
    sent.on('error', () => {})
    sent.end(JSON.stringify(body))
    await asked
    sent.destroy()
    // Its connection was opened before, so by now the server knows of the end of that one.
    await admin.send('GET', '/fleet')
    letAnswer(answer)
    await admin.send('GET', '/fleet')
    return fleet.calls.splice(0).map((call) => (call as unknown[])[1])
  }
  const going = { task: 3, share: 0, isDone: false, result: null }
  const file = { file: '/x' }
  assert.deepEqual(await leave('store.backup', file, going), ['store.backup', 'store.cancel'])
  assert.deepEqual(await leave('store.task', { task: 3 }, going), ['store.task', 'store.cancel'])
  assert.deepEqual(await leave('store.task', { task: 3 }, { ...going, isDone: true }), ['store.task'])
  assert.deepEqual(await leave('clients.disconnect', { clientId: 'c' }, {}), ['clients.disconnect'])
})

test('what is wrong with a request is a problem that names the parameter and the fix', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const expectProblem = async (
    sent: ReturnType<AdminFixture['send']>,
    status: number,
    code: string,
    key: unknown = null,
  ) => {
    const { headers, json, status: got } = await sent
    assert.deepEqual([got, json.status, json.code, json.key], [status, status, code, key])
    assert.equal(headers['content-type'], 'application/problem+json; charset=utf-8')
    assert.equal(json.type, `urn:atollmq:problem:${code}`)
    assert.ok(json.title.length > 0 && json.detail.length > 0)
    assert.ok('fix' in json)
    return json
  }
  const { send } = admin
  const mistyped = await expectProblem(send('GET', '/instances/a/clients?limt=5'), 400, 'bad-parameters', 'limt')
  assert.equal(mistyped.fix, 'did you mean limit')
  await expectProblem(send('GET', '/instances/a/clients?limit=100000'), 400, 'bad-parameters', 'limit')
  await expectProblem(send('GET', '/instances/a/clients?limit=1&limit=2'), 400, 'bad-parameters', 'limit')
  await expectProblem(send('GET', '/instances/a/clients?limit=x'), 400, 'bad-parameters', 'limit')
  await expectProblem(send('POST', '/instances/a/clients/disconnect', {}), 400, 'bad-parameters', 'clientId')
  await expectProblem(send('POST', '/instances/a/start', { wait: 'yes' }), 400, 'bad-parameters', 'wait')
  await expectProblem(send('POST', '/instances/a/start', []), 400, 'not-an-object')
  const json = { 'content-type': 'application/json' }
  await expectProblem(send('POST', '/instances/a/start', '{', json), 400, 'syntax')
  await expectProblem(send('POST', '/instances/a/start', Buffer.from([0x22, 0xff, 0x22]), json), 400, 'syntax')
  await expectProblem(send('POST', '/instances/a/start', '{}', { 'content-type': 'text/plain' }), 415, 'not-json')
  await expectProblem(send('POST', '/instances/a/start?wait=true'), 400, 'query-unused')
  await expectProblem(
    send('POST', '/instances/a/start', '{"__proto__":{"wait":true}}', json),
    400,
    'bad-parameters',
    '__proto__',
  )
  await expectProblem(send('GET', '/instances/zz'), 404, 'no-such-instance')
  await expectProblem(send('POST', '/instances'), 405, 'wrong-method')
  await expectProblem(send('DELETE', '/instances/a'), 405, 'wrong-method')
  for (const path of [
    '/nothing',
    '/api/v2/fleet',
    '/',
    '/instances/a/nothing',
    '/instances//clients',
    '/constructor',
  ]) {
    await expectProblem(send('GET', path), 404, 'no-such-address')
  }
  for (const path of ['/instances/..%2f..%2fetc', '/instances/%2e%2e']) {
    assert.equal((await send('GET', path)).status, 404)
  }
  assert.equal((await send('GET', '/instances/../../../etc/passwd')).status, 404)
  await expectProblem(send('GET', '/instances/%ff'), 400, 'syntax')
  assert.deepEqual(admin.fleet.calls, [])
})

test('failures of verbs keep their code; a bug shows no more than that it is one', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  admin.fleet.answer = () => {
    throw new OperatorError('no-such-client', 'nobody', { place: { key: 'clientId' }, fix: 'look again' })
  }
  const { json } = await admin.send('GET', '/instances/a/clients/show?clientId=x')
  assert.deepEqual([json.status, json.code, json.key, json.fix], [404, 'no-such-client', 'clientId', 'look again'])
  admin.fleet.answer = () => {
    throw new TypeError('secret is undefined')
  }
  const bug = await admin.send('GET', '/instances/a/clients')
  assert.equal(bug.status, 500)
  assert.ok(!bug.text.includes('secret'))
  assert.ok(admin.lines.some((line) => line.includes('secret is undefined')))
})

test('what peers have chosen comes as JSON of one line without control characters', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const clientId = '\u001b[2J\n</script>\u009b31m\u2028"\u0000'
  admin.fleet.answer = () => ({ items: [{ clientId }], cursor: null })
  const { text, json, headers } = await admin.send('GET', '/instances/a/clients')
  assert.doesNotMatch(text, /[\u0000-\u001f\u007f-\u009f\u2028]/)
  assert.equal(json.items[0].clientId, clientId)
  assert.equal(headers['x-content-type-options'], 'nosniff')
})

test('every request that changes something is one line of the audit log, whatever comes of it', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  await admin.send('GET', '/fleet')
  await admin.send('POST', '/instances/a/start', {})
  await admin.send('POST', '/instances/a/stop', {})
  await admin.send('POST', '/instances/b/sessions/delete', { clientId: 'x\ninfo forged' })
  const lines = admin.lines.filter((line) => line.includes(' audit '))
  assert.equal(lines.length, 3)
  assert.match(lines[0], /info {2}audit by="admin socket" operation=instances\.start instance=a .*result=ok$/)
  assert.match(lines[1], /warn {2}audit .*operation=instances\.stop .*result=no-answer$/)
  assert.match(lines[2], /operation=sessions\.delete instance=b .*forged.*result=ok$/)
  assert.ok(admin.lines.every((line) => !line.includes('\n')))
})

test('a list that is read page by page, and a task that is asked for until it is done, are one line of the audit log', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const audited = async (verb: string, body: object, result: object) => {
    const { length } = admin.lines
    admin.fleet.answer = () => result
    assert.equal((await admin.send('POST', `/instances/a/store/${verb}`, body)).status, 200)
    return admin.lines.slice(length).filter((line) => line.includes(' audit ')).length
  }
  assert.equal(await audited('dump', { limit: 2 }, { items: [], cursor: 'AA' }), 1)
  assert.equal(await audited('dump', { limit: 2, cursor: 'AA' }, { items: [], cursor: 'AB' }), 0)
  // What nobody has given out, for that or at all, begins something: nobody reads unseen.
  assert.equal(await audited('dump', { limit: 2, cursor: 'AA' }, { items: [], cursor: null }), 1)
  assert.equal(await audited('dump', { limit: 2, cursor: 'AC' }, { items: [], cursor: null }), 1)
  assert.equal(await audited('dump', { limit: 2, cursor: 'AB', kind: 'message' }, { items: [], cursor: null }), 1)
  assert.equal(await audited('dump', { limit: 2, cursor: 'AB' }, { items: [], cursor: null }), 0)
  assert.equal(await audited('dump', { limit: 2 }, { items: [], cursor: null }), 1)

  assert.equal(await audited('verify', {}, { task: 1, share: 0, isDone: false, result: null }), 1)
  assert.equal(await audited('task', { task: 1 }, { task: 1, share: 0.5, isDone: false, result: null }), 0)
  assert.equal(await audited('cancel', { task: 1 }, { isCancelled: true }), 1)
  admin.fleet.answer = () => {
    throw new OperatorError('store-damaged', 'the file is damaged')
  }
  await admin.send('POST', '/instances/a/store/task', { task: 1 })
  assert.match(admin.lines.at(-1)!, /warn {2}audit .*operation=store\.task .*result=store-damaged$/)
})

test('lists that are read at one time are remembered up to a limit, the latest ones', () => {
  const followUps = new FollowUps()
  for (let number = 0; number <= followUpLimit; number++) followUps.note('o', 'a', { number }, { cursor: 'x' })
  assert.equal(followUps.take('o', 'a', { number: 0, cursor: 'x' }), false)
  assert.equal(followUps.take('o', 'a', { number: 1, cursor: 'x' }), true)
  assert.equal(followUps.take('o', 'a', { number: followUpLimit, cursor: 'x' }), true)
})

test('how far an instance is that is made with data is told meanwhile, and no more when that has ended', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const progress = async () => (await admin.send('GET', '/fleet/progress')).json
  assert.deepEqual(await progress(), [])
  let fail = (_error: Error) => {}
  const ended = new Promise((_, reject) => {
    fail = reject
  })
  const isTask = () => admin.fleet.calls.length > 1
  admin.fleet.answer = () => (isTask() ? ended : { task: 1, share: 0.5, isDone: false, result: null })
  const cloned = admin.send('POST', '/instances/a/clone', { name: 'c', withData: true })
  while (!isTask()) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(await progress(), [{ operation: 'instances.clone', instance: 'c', share: 0.25 }])
  fail(new OperatorError('store-damaged', 'the file is damaged'))
  assert.equal((await cloned).json.code, 'store-damaged')
  assert.deepEqual(await progress(), [])
})

test('stop is asked for, and answered first', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  assert.deepEqual((await admin.send('POST', '/fleet/stop', {})).json, { pid: 1 })
  assert.deepEqual(admin.stopReasons, ['the admin API'])
})

test('a body over the limit is refused, and the connection is of no more use', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const body = Buffer.alloc(bodyLimitBytes + 1, 0x20)
  const sent = request({
    socketPath: admin.socketPath,
    method: 'POST',
    path: `${apiBase}/instances/a/start`,
    headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
  })
  sent.on('error', () => {})
  sent.write(body)
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  assert.equal(response.statusCode, 413)
  assert.equal(response.headers.connection, 'close')
  response.resume()
})

test('headers over the limit, and what is no HTTP, end the connection', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  for (const text of [`GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, '\u0010\u0000\u0000MQTT\r\n\r\n']) {
    const socket = connect(admin.socketPath)
    socket.on('error', () => {})
    socket.write(text)
    let answer = ''
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part
    })
    await once(socket, 'close')
    assert.match(answer, /^(HTTP\/1\.1 4|$)/)
  }
  assert.equal((await admin.send('GET', '/fleet')).status, 200)
})

test('so many requests at one time, and no more; then again', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  admin.fleet.answer = () => held.then(() => ({ items: [], cursor: null }))
  const open = Array.from({ length: requestLimit }, () => admin.send('GET', '/instances/a/clients'))
  while (admin.fleet.calls.length < requestLimit) await new Promise((resolve) => setImmediate(resolve))
  const over = await admin.send('GET', '/fleet')
  assert.deepEqual([over.status, over.json.code], [503, 'too-many-requests'])
  release()
  assert.deepEqual(
    (await Promise.all(open)).map(({ status }) => status),
    open.map(() => 200),
  )
  assert.equal((await admin.send('GET', '/fleet')).status, 200)
})

/** Opens the stream of events. */
async function readEvents(socketPath: string) {
  const sent = request({ socketPath, path: `${apiBase}/events` })
  sent.on('error', () => {})
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  let text = ''
  let wake = () => {}
  response.setEncoding('utf8').on('data', (part) => {
    text += part
    wake()
  })
  response.on('error', () => {})
  const saw = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return text
  }
  return { response, saw, end: () => sent.destroy() }
}

test('events come as they happen, with a heartbeat between', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const events = await readEvents(admin.socketPath)
  assert.equal(events.response.headers['content-type'], 'text/event-stream')
  await events.saw(/: events of the fleet/)
  admin.fleet.emit({ kind: 'phase', name: 'a', phase: 'failed', reason: 'line\nbreak', atMs: 5 })
  const text = await events.saw(/event: phase\n/)
  const [, data] = /id: 1\nevent: phase\ndata: (.*)\n\n/.exec(await events.saw(/\n\n$/)) ?? assert.fail(text)
  assert.deepEqual(JSON.parse(data), { kind: 'phase', name: 'a', phase: 'failed', reason: 'line\nbreak', atMs: 5 })
  admin.fleet.emit({ kind: 'applied', changes: [], atMs: 6 })
  await events.saw(/id: 2\nevent: applied\ndata: /)
  admin.clock.advance(heartbeatSeconds * 1000)
  await events.saw(/: still here\n\n/)
  const ended = once(events.response, 'end')
  await admin.stop()
  await ended
})

test('so many readers of events, and no more; one that has gone makes room', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const readers = await Promise.all(Array.from({ length: eventReaderLimit }, () => readEvents(admin.socketPath)))
  const over = await admin.send('GET', '/events')
  assert.deepEqual([over.status, over.json.code], [503, 'too-many-readers'])
  readers[0].end()
  let status = 503
  while (status === 503) {
    const again = await readEvents(admin.socketPath)
    status = again.response.statusCode!
  }
  assert.equal(status, 200)
})

test('a reader that does not read is cut off, the others get everything', async (t) => {
  const admin = await startAdmin(t, controlVerbs)
  const stalled = connect(admin.socketPath)
  stalled.on('error', () => {})
  stalled.write(`GET ${apiBase}/events HTTP/1.1\r\nhost: x\r\n\r\n`)
  await once(stalled, 'readable')
  const events = await readEvents(admin.socketPath)
  const reason = 'x'.repeat(20_000)
  for (let at = 1; at <= 100; at++) {
    admin.fleet.emit({ kind: 'phase', name: 'a', phase: 'failed', reason, atMs: at })
    await events.saw(new RegExp(`^id: ${at}$`, 'm'))
  }
  stalled.resume()
  await once(stalled, 'close')
})
