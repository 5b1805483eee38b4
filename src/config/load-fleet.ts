// Finds and reads the configuration with all files that it includes, lays environment and command line over it, and answers
// with a whole fleet or with everything that is wrong. Starts nothing and asks the host nothing.
import { OperatorError } from '../base/errors.ts'
import type { AddressGrammar, ListenerAddress } from './check-listeners.ts'
import { childOf, emptyMap, isSaid, type MapNode, placeOf, withValue } from './config-node.ts'
import { resolveDaemonLog } from './daemon-log.ts'
import { defaultPaths } from './default-paths.ts'
import { logOnlySchema } from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import { findFile } from './find-file.ts'
import { type FleetConfig, type FleetMember, longestGraceSeconds } from './fleet-config.ts'
import { type FindPlace, findFleetConflicts } from './fleet-conflicts.ts'
import { includeFiles } from './include-files.ts'
import { JudgedNodes } from './judged-nodes.ts'
import {
  fileLayers,
  listenerNames,
  mergeLayers,
  overrideLayers,
  withDefaultListeners,
  without,
} from './member-layers.ts'
import { describePlace, type MemberSource, memberSources } from './member-sources.ts'
import { FaultyFleetError, namedThings } from './named-things.ts'
import { applySettings, type KnownInstances, listenersOf, readEnvironment } from './overrides.ts'
import { readDocument } from './read-document.ts'
import { resolveFleetKeys } from './resolve-fleet-keys.ts'
import { type MemberSurroundings, resolveMember } from './resolve-member.ts'
import type { SavedChanges } from './saved-changes.ts'
import { expandNode } from './variables.ts'

export interface LoadOptions {
  /** The file of the command line; null for ATOLL_CONFIG, then the default places. */
  file: string | null
  environment: Readonly<Record<string, string | undefined>>
  /** Addresses that replace all listeners. */
  listen: readonly string[]
  /** `key.path=value`, the last word. */
  settings: readonly string[]
  workingDirectory: string
  /** Account of the process: root has other default paths. */
  uid: number
  grammar: AddressGrammar
  /** What commands have added; by default nothing. */
  changes?: SavedChanges
}

export interface LoadedFleet {
  fleet: FleetConfig
  /** Whether `runDir` is the default of the account, and nobody's choice. */
  isDefaultRunDir: boolean
  /** Absolute path of the file that includes the others; null when there is no file. */
  file: string | null
  /** What took part after the built-in defaults, in order of precedence: files, variables, options. */
  sources: string[]
  findPlace: FindPlace
  /** Whether a file, a variable or an option gives that key of an instance a value, or only the built-in default does. */
  isStated(instance: string, path: readonly string[]): boolean
}

/**
 * A fleet, checked as a whole. One without instances is there to be filled by commands.
 * @throws ConfigError with every finding
 */
export function loadFleet(options: LoadOptions): LoadedFleet {
  const { workingDirectory, listen } = options
  const grammar = rememberingGrammar(options.grammar)
  const findings: OperatorError[] = []
  const defaults = defaultPaths(options.uid, options.environment)
  const file = findFile(options, defaults)
  const document = file === null ? emptyMap(workingDirectory) : readDocument(file, findings)
  const main = file === null ? null : { file, root: document }
  const included = main === null ? [] : includeFiles(main, findings)
  const isFleet = childOf(document, 'instances') !== null || childOf(document, 'include') !== null
  const added = options.changes?.parts() ?? []
  const described = memberSources(main, [...included, ...added], findings)
  if (isFleet) checkFleetShape(document, described, findings)
  const isAdded = (source: MemberSource) => options.changes?.isPart(source.file) ?? false
  const ofFiles = isFleet ? described.filter((source) => !isAdded(source)) : [defaultSource(document, file)]
  const ofCommands = described.filter(isAdded)
  const sources = [...ofFiles, ...ofCommands]
  const twice = isFleet ? undefined : ofCommands.find(({ name }) => name === ofFiles[0]!.name)
  if (twice !== undefined) {
    const message = `there is an instance ${twice.name} already, which the whole configuration file describes`
    findings.push(new OperatorError('duplicate-name', message, { place: twice.place, fix: 'rename one of them' }))
  }
  // An instance of a file stays what it is when a command adds another one.
  const isAloneInFiles = ofFiles.length === 1

  const layersOfFiles = fileLayers(document, ofFiles, isFleet)
  // The top level of a file without instances is that one instance, and says nothing of others.
  const sharedByAll = isFleet ? document : onlyDefaults(document)
  for (const [name, layers] of fileLayers(sharedByAll, ofCommands, true)) layersOfFiles.set(name, layers)
  const merge = once(mergeLayers)
  const fromFiles = new Map(sources.map(({ name }) => [name, merge(layersOfFiles.get(name)!)]))
  const known: KnownInstances = {
    listeners: new Map([...fromFiles].map(([name, root]) => [name, listenerNames(root)])),
    alone: isAloneInFiles ? ofFiles[0]!.name : null,
  }
  const { root: environment, applied } = readEnvironment(options.environment, known, workingDirectory, findings)
  let commandLine = emptyMap(workingDirectory)
  if (listen.length > 0 && ofFiles.length !== 1) {
    findings.push(
      new OperatorError('wrong-place', `there are ${ofFiles.length} instances, and a listener belongs to one`, {
        place: { file: '--listen' },
        fix: 'use --set instances.NAME.listeners.LISTENER=ADDRESS',
      }),
    )
  } else if (listen.length > 0) {
    commandLine = withValue(commandLine, ['listeners'], listenersOf(listen, workingDirectory))
  }
  commandLine = applySettings(commandLine, options.settings, known, workingDirectory, findings)

  const top = mergeLayers([document, environment, commandLine])
  // Otherwise that shows where the instances are judged.
  if (sources.length === 0) findings.push(...findFaults(logOnlySchema, mergeLayers([environment, commandLine])))
  const fleet = resolveFleetKeys(top, defaults, workingDirectory, grammar, findings)
  const judged = new JudgedNodes()
  const roots = new Map<string, MapNode>()
  const expandedRoots: MapNode[] = []
  const members: FleetMember[] = []
  for (const source of sources) {
    const { name } = source
    const isOfCommand = isAdded(source)
    const isAlone = isAloneInFiles && !isOfCommand
    // Listeners of no named instance are about the one of the files.
    const notOurs = isOfCommand ? ['listeners'] : []
    const overrides = [environment, commandLine].flatMap((root) => overrideLayers(without(root, notOurs), name))
    let below = mergeLayers([
      withDefaultListeners(fromFiles.get(name)!, name, fleet.runDir, isAlone),
      ...overrides.slice(0, 2),
    ])
    if (listen.length > 0 && !isOfCommand) below = without(below, ['listeners'])
    const ofListenerCommands = options.changes?.listenersOf(name) ?? emptyMap(workingDirectory)
    const merged = mergeLayers([below, ofListenerCommands, ...overrides.slice(2)])
    const layers = [...layersOfFiles.get(name)!, ofListenerCommands, ...overrides]
    const found: OperatorError[] = []
    const root = expand(source, merged, found)
    const member = root === null ? null : judge(source, root, layers, { ...fleet, isAlone, grammar, judged }, found)
    roots.set(name, root ?? merged)
    if (root !== null) expandedRoots.push(root)
    if (member !== null) members.push(member)
    for (const finding of found) findings.push(isFleet ? withInstance(finding, source) : finding)
  }

  const places = new Map(sources.map(({ name, place }) => [name, place]))
  const findPlace: FindPlace = (instance, path) => {
    if (path.length === 0 && instance !== null) return places.get(instance) ?? {}
    const place = placeOf((instance === null ? null : roots.get(instance)) ?? top, path)
    // What is made by default stands nowhere: then the instance is the place.
    return place.file === undefined ? { ...places.get(instance ?? ''), key: path.join('.') } : place
  }
  findings.push(...findFleetConflicts(members, fleet.admin, new Set(known.listeners.keys()), grammar, findPlace))
  if (findings.length > 0) throw new FaultyFleetError(findings, namedThings(expandedRoots))
  const files = file === null ? [] : [file, ...included.map((one) => one.file)]
  return {
    fleet: { ...fleet, log: resolveDaemonLog(top), members, files, gracePeriodSeconds: longestGraceSeconds(members) },
    isDefaultRunDir: childOf(top, 'runDir') === null,
    file,
    sources: [
      ...files,
      ...applied,
      ...(listen.length > 0 ? ['--listen'] : []),
      ...(options.settings.length > 0 ? ['--set'] : []),
    ],
    findPlace,
    isStated: (instance, path) => isSaid(roots.get(instance) ?? top, path),
  }
}

/** What may not stand at the top level of a file with instances. */
function checkFleetShape(document: MapNode, sources: readonly MemberSource[], findings: OperatorError[]): void {
  const stray = document.entries.get('listeners')
  if (stray === undefined) return
  findings.push(
    new OperatorError('wrong-place', 'listeners belong to one instance', {
      place: stray.keyPlace,
      fix: `move them under instances.${sources[0]?.name ?? 'NAME'}`,
    }),
  )
}

function onlyDefaults(document: MapNode): MapNode {
  return { ...document, entries: new Map([...document.entries].filter(([key]) => key === 'defaults')) }
}

/** The instance of a file without instances: all that is said of it stands at the top level. */
function defaultSource(document: MapNode, file: string | null): MemberSource {
  return {
    name: 'default',
    entry: emptyMap(document.baseDirectory, document.place),
    template: null,
    scope: new Map([['name', 'default']]),
    place: document.place,
    file,
  }
}

/** @returns null when a variable is missing or wrong */
function expand(source: MemberSource, root: MapNode, findings: OperatorError[]): MapNode | null {
  if (source.scope === null) return null
  const expanded = expandNode(root, source.scope, ({ place }, { code, message, fix }) => {
    findings.push(new OperatorError(code, message, { place, ...(fix === null ? {} : { fix }) }))
  })
  return findings.length > 0 ? null : (expanded as MapNode)
}

function judge(
  source: MemberSource,
  root: MapNode,
  layers: readonly MapNode[],
  surroundings: MemberSurroundings,
  findings: OperatorError[],
): FleetMember | null {
  findings.push(...surroundings.judged.findFaults(root))
  return resolveMember(source, root, layers, surroundings, findings)
}

/** Names the instance too where a finding stands elsewhere: in a template, or in what is said for all. */
function withInstance(finding: OperatorError, { name, place, file }: MemberSource): OperatorError {
  const { code, message, fix } = finding
  const at = finding.place
  if (at?.line === undefined) return finding
  const isOwn =
    at.file === file && (place.key === undefined || at.key === place.key || at.key?.startsWith(`${place.key}.`))
  if (isOwn) return finding
  return new OperatorError(code, `${message}; this is for the instance ${name}, ${describePlace(place)}`, {
    place: at,
    ...(fix === null ? {} : { fix }),
  })
}

/** Remembers what a function has answered to each object. */
function once<Given, Answer>(ask: (given: Given) => Answer): (given: Given) => Answer {
  const answers = new Map<Given, Answer>()
  return (given) => {
    if (!answers.has(given)) answers.set(given, ask(given))
    return answers.get(given)!
  }
}

/** Every address is looked at twice: with its instance, and beside those of all others. */
function rememberingGrammar(grammar: AddressGrammar): AddressGrammar {
  const known = new Map<string, ListenerAddress>()
  return {
    ...grammar,
    parse(text, options) {
      if (options.port !== undefined) return grammar.parse(text, options)
      const address = known.get(text) ?? grammar.parse(text, options)
      known.set(text, address)
      return address
    },
  }
}
