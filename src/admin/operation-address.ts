// Method and path of an operation, from its name alone. The server's table and the command line both come here, so that
// neither can mean another place than the other. Knows no handler and no shape, and loads nothing.

export const apiBase = '/api/v1'

/** An operation with one of these verbs changes nothing, and is served by GET. */
const readingVerbs: readonly string[] = [
  'list',
  'show',
  'get',
  'status',
  'metrics',
  'export',
  'progress',
  'openapi',
  'events',
]

/** Resources of the daemon itself; every other one belongs to an instance. */
const fleetResources: readonly string[] = ['fleet', 'instances', 'api']
/** Operations on all the instances, or on none yet. */
const withoutInstance: readonly string[] = ['instances.list', 'instances.create']

export interface OperationAddress {
  method: 'GET' | 'POST'
  /** Below `apiBase`; `{instance}` stands for the name of one. */
  path: string
  /** Whether it concerns one instance, whose name is part of the path. */
  hasInstance: boolean
}

/**
 * `clients.list` is GET `/instances/{instance}/clients`, `clients.disconnect` POST `/instances/{instance}/clients/disconnect`,
 * `instances.show` GET `/instances/{instance}`, `fleet.apply` POST `/fleet/apply`.
 */
export function operationAddress(id: string): OperationAddress {
  const [resource, verb] = id.split('.')
  const method = readingVerbs.includes(verb) ? 'GET' : 'POST'
  if (resource === 'api') return { method, path: verb === 'openapi' ? '/openapi.json' : `/${verb}`, hasInstance: false }
  if (resource === 'fleet') return { method, path: verb === 'status' ? '/fleet' : `/fleet/${verb}`, hasInstance: false }
  if (withoutInstance.includes(id)) {
    return { method, path: verb === 'list' ? '/instances' : `/instances/${verb}`, hasInstance: false }
  }
  const isDefault = verb === (fleetResources.includes(resource) ? 'show' : 'list')
  const folder =
    resource === 'instances' || resource === 'instance' ? '/instances/{instance}' : `/instances/{instance}/${resource}`
  return { method, path: isDefault ? folder : `${folder}/${verb}`, hasInstance: true }
}
