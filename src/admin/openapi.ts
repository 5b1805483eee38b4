// The OpenAPI 3.1 description of the admin API, made from its table.
import * as z from 'zod'
import type { AdminRoute } from './admin-route.ts'
import { apiBase, operationAddress } from './operation-address.ts'

const problemSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'key', 'fix'],
  properties: {
    type: { type: 'string', description: '`urn:atollmq:problem:` and the code' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What happened' },
    code: { type: 'string', description: 'Stable, for programs' },
    key: { type: ['string', 'null'], description: 'The parameter or configuration key that it is about' },
    fix: { type: ['string', 'null'], description: 'What to do' },
    findings: { type: 'array', items: { type: 'object' }, description: 'All that is wrong with a configuration' },
  },
}

const failure = {
  description: 'A problem as of RFC 9457',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

const instanceParameter = {
  name: 'instance',
  in: 'path',
  required: true,
  description: 'Name of an instance',
  schema: { type: 'string' },
}

export function openApiDocument(routes: readonly AdminRoute[], version: string): object {
  const paths: Record<string, Record<string, object>> = {
    '/openapi.json': {
      get: {
        operationId: 'api.openapi',
        summary: 'This document.',
        tags: ['api'],
        responses: success('application/json', { type: 'object' }),
      },
    },
    '/events': {
      get: {
        operationId: 'api.events',
        summary: 'What happens in the fleet, as server-sent events: phase and applied.',
        tags: ['api'],
        responses: success('text/event-stream', { type: 'string' }),
      },
    },
  }
  for (const route of routes) {
    const { method, path } = operationAddress(route.id)
    paths[path] = { ...paths[path], [method.toLowerCase()]: describeOperation(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'AtollMQ admin API', version, description: 'One fleet of MQTT brokers on one host.' },
    servers: [{ url: apiBase, description: 'On the admin socket of the daemon' }],
    paths,
    components: { schemas: { Problem: problemSchema } },
  }
}

function describeOperation(route: AdminRoute): object {
  const { method, hasInstance } = operationAddress(route.id)
  const schema = schemaOf(route.params, 'input')
  const required = schema.required ?? []
  const query = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const { description } = property as { description?: string }
    return { name, in: 'query', required: required.includes(name), description, schema: property }
  })
  return {
    operationId: route.id,
    summary: route.summary,
    tags: [route.id.split('.')[0]],
    parameters: [...(hasInstance ? [instanceParameter] : []), ...(method === 'GET' ? query : [])],
    requestBody:
      method === 'GET' ? undefined : { required: required.length > 0, content: { 'application/json': { schema } } },
    responses: success('application/json', route.result === null ? {} : schemaOf(route.result, 'output')),
  }
}

function schemaOf(shape: z.ZodType, io: 'input' | 'output') {
  const { $schema: _, ...schema } = z.toJSONSchema(shape, { io, unrepresentable: 'any' })
  return schema
}

function success(type: string, schema: object): object {
  return { 200: { description: 'Done', content: { [type]: { schema } } }, default: failure }
}
