// Measures stompede and its peers in turn and prints one table: `scripts/bench peers`.
//
// Every figure comes from stompede-bench against a fresh server; each round runs each work against
// all servers before the next work, so that a machine that drifts drifts for all. Figures are
// medians over the rounds. A peer that does not start is named with the reason, not left out.
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const { STOMPEDE: stompede, GENERATOR: bench, PEERS: peersDir } = process.env;
const cores = os.cpus().length;
const serverCpus = '0';
const clientCpus = cores === 1 ? '0' : cores === 2 ? '1' : `1-${cores - 1}`;
const START_MS = 60_000;
// Connections that warm a server up before those that are measured.
const WARM_COUNT = 100;
// What the generator calls what servers speak.
const PROTOCOLS = {
  plain: 'websocket', 'STOMP 1.2': 'stomp', NATS: 'nats', 'MQTT 3.1.1': 'mqtt',
};
const options = readOptions(process.argv.slice(2));

// Name, what it speaks, its command, its version; `url` rewrites the address that it prints, and
// `prepare` makes ready a server that prints none and returns its address.
const servers = [
  {
    name: 'stompede',
    speaks: 'STOMP 1.2',
    command: [stompede, ...stompedeOptions()],
    version: () => stompedeVersion(),
  },
  {
    name: 'stompede-plain',
    speaks: 'plain',
    command: [stompede, ...stompedeOptions(), '--test-services', '--handler-inbox-max', '256MiB'],
    url: (url) => new URL('/broadcast/websocket', url).href,
    version: () => stompedeVersion(),
  },
  { name: 'uws', speaks: 'plain', ...script('uws', '@trufflesuite/uws-js-unofficial') },
  { name: 'bun', speaks: 'plain', ...script('bun', 'bun', 'node_modules/.bin/bun') },
  { name: 'ws', speaks: 'plain', ...script('ws', 'ws') },
  { name: 'sockjs-node', speaks: 'plain', ...script('sockjs', 'sockjs') },
  { name: 'nchan', speaks: 'plain', ...nchan() },
  { name: 'rabbitmq', speaks: 'STOMP 1.2', ...rabbitmq() },
  { name: 'nats', speaks: 'NATS', ...nats() },
  { name: 'mosquitto', speaks: 'MQTT 3.1.1', ...mosquitto() },
].filter((server) => options.only.length === 0 || options.only.includes(server.name));

// Scenario and options of stompede-bench, and the figures to take from its report.
const works = [
  {
    arguments: ['connect', '--connections', options.connections, '--hold', options.hold],
    // What the first connections cost once is a figure of its own, not a part of each.
    isWarm: true,
    figures: (report, warmBytes) => ({
      connectUs: report.cpu_us_per_connect,
      warmBytes,
      // After the hold: what a garbage collector had the time to free is not counted.
      idleBytes: (heldBytes(report) - warmBytes) / (report.connections - WARM_COUNT),
    }),
  },
  {
    arguments: ['fanout', '--connections', options.connections, '--publish-rate', '5',
      '--size', '100', '--duration', options.duration],
    figures: (report) => ({
      deliveryUs: report.cpu_us_per_delivery,
      p50Ms: report.latency.p50_us / 1e3,
      p99Ms: report.latency.p99_us / 1e3,
    }),
  },
  {
    arguments: ['fanout', '--connections', '100', '--publish-rate', 'max', '--size', '100',
      '--duration', options.duration],
    figures: (report) => ({
      rate: report.delivered_per_s,
      ratePerCore: 1e6 / report.cpu_us_per_delivery,
    }),
  },
];

function heldBytes(report) {
  return report.server.hold.pss_bytes[1];
}

function readOptions(given) {
  const read = { rounds: 3, connections: '10000', hold: '10s', duration: '10s' };
  Object.assign(read, { only: [], file: '' });
  while (given.length > 0) {
    const name = given.shift();
    if (name === '--quick') {
      Object.assign(read, { rounds: 1, connections: '1000', hold: '2s', duration: '2s' });
    } else if (name === '--rounds') read.rounds = Number(given.shift());
    else if (name === '--connections') read.connections = given.shift() ?? '';
    else if (name === '--only') read.only = (given.shift() ?? '').split(',');
    else if (name === '--keep') {
      read.file = `bench/results/peers-${new Date().toISOString().slice(0, 10)}.md`;
    } else process.exit(2);
  }
  if (!(read.rounds >= 1) || !(Number(read.connections) > WARM_COUNT)) process.exit(2);
  return read;
}

function stompedeOptions() {
  return ['--listen', '127.0.0.1:0', '--stomp-listen', 'off', '--admin-listen', 'off',
    '--shards', '1', '--log-level', 'warn'];
}

function stompedeVersion() {
  const version = execFileSync(stompede, ['--version']).toString().trim().split(' ').pop();
  // Where another binary came from is not known.
  if (!stompede.startsWith(process.cwd())) return version;
  return `${version} (${execFileSync('git', ['rev-parse', '--short', 'HEAD']).toString().trim()})`;
}

// A peer from npm: a script that prints its address, run by node or by `program` of the package.
function script(name, npmPackage, program) {
  const runtime = program ? path.join(peersDir, program) : process.execPath;
  return {
    command: [runtime, path.join(peersDir, `${name}.mjs`)],
    version: () => {
      const file = path.join(peersDir, 'node_modules', npmPackage, 'package.json');
      const { version } = JSON.parse(readFileSync(file));
      return program ? version : `${version}, Node ${process.versions.node}`;
    },
  };
}

// Debian's nginx and its module, unpacked below `peersDir`; it wants a directory below /var/lib,
// which it gets in a mount namespace of its own.
function nchan() {
  const root = path.join(peersDir, 'nginx');
  const nginx = path.join(root, 'usr/sbin/nginx');
  const config = path.join(peersDir, 'nchan-filled.conf');
  const inNamespace = 'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$@"';
  return {
    needs: nginx,
    command: ['unshare', process.getuid() === 0 ? '-m' : '-rm', 'sh', '-c', inNamespace, 'sh',
      nginx, '-p', peersDir, '-c', config],
    prepare: async () => {
      const port = await freePort();
      fill('nchan.conf', config, { PORT: port, WORK: peersDir, ROOT: root });
      return `ws://127.0.0.1:${port}/ws`;
    },
    version: () => unpackedVersion(root),
  };
}

// Debian's RabbitMQ with its Web-STOMP plugin, unpacked below `peersDir`. Its scripts know where
// they are installed: in a mount namespace of its own, /usr is what is there with the unpacked on top. A
// directory for the node and the name server of Erlang are made for each start.
function rabbitmq() {
  const root = path.join(peersDir, 'rabbitmq');
  const work = path.join(root, 'run');
  const inNamespace = `mount -t overlay none -o lowerdir="${root}/usr:/usr" /usr && exec "$@"`;
  return {
    needs: path.join(root, 'usr/lib/rabbitmq/bin/rabbitmq-server'),
    command: ['unshare', process.getuid() === 0 ? '-m' : '-rm', 'sh', '-c', inNamespace, 'sh',
      '/usr/lib/rabbitmq/bin/rabbitmq-server'],
    prepare: async (server) => {
      const [port, namesPort, nodePort] = [await freePort(), await freePort(), await freePort()];
      rmSync(work, { recursive: true, force: true });
      mkdirSync(work, { recursive: true });
      fill('rabbitmq.conf', path.join(work, 'rabbitmq.conf'), { PORT: port });
      writeFileSync(path.join(work, 'enabled_plugins'), '[rabbitmq_web_stomp].\n');
      const names = ['-port', String(namesPort), '-address', '127.0.0.1'];
      server.helper = pinned(clientCpus, [path.join(root, 'usr/bin/epmd'), ...names], 'ignore');
      server.environment = {
        HOME: work,
        // Without a shell between us and the runtime.
        RUNNING_UNDER_SYSTEMD: 'true',
        ERL_EPMD_PORT: String(namesPort),
        ERL_EPMD_ADDRESS: '127.0.0.1',
        RABBITMQ_NODENAME: `bench${port}@localhost`,
        RABBITMQ_DIST_PORT: String(nodePort),
        RABBITMQ_MNESIA_BASE: path.join(work, 'mnesia'),
        RABBITMQ_LOG_BASE: path.join(work, 'log'),
        RABBITMQ_PID_FILE: path.join(work, 'pid'),
        RABBITMQ_CONFIG_FILE: path.join(work, 'rabbitmq.conf'),
        RABBITMQ_CONF_ENV_FILE: path.join(work, 'none'),
        RABBITMQ_ENABLED_PLUGINS_FILE: path.join(work, 'enabled_plugins'),
      };
      return `ws://127.0.0.1:${port}/ws`;
    },
    version: () => unpackedVersion(root),
  };
}

// Debian's NATS server; it prints the address of its WebSocket.
function nats() {
  const root = path.join(peersDir, 'nats');
  return {
    command: [path.join(root, 'usr/sbin/nats-server'), '-c', path.join(peersDir, 'nats.conf')],
    version: () => unpackedVersion(root),
  };
}

// Debian's mosquitto, with those of its libraries that are not here.
function mosquitto() {
  const root = path.join(peersDir, 'mosquitto');
  const config = path.join(peersDir, 'mosquitto-filled.conf');
  const libraries = path.join(root, 'usr/lib');
  const directories = existsSync(libraries)
    ? [libraries, ...readdirSync(libraries).map((name) => path.join(libraries, name))] : [];
  return {
    command: [path.join(root, 'usr/sbin/mosquitto'), '-c', config],
    environment: { LD_LIBRARY_PATH: directories.join(':') },
    prepare: async () => {
      const port = await freePort();
      const user = os.userInfo().username;
      fill('mosquitto.conf', config, { PORT: port, WORK: peersDir, USER: user });
      return `ws://127.0.0.1:${port}/mqtt`;
    },
    version: () => unpackedVersion(root),
  };
}

// Names and versions of the packages that scripts/bench unpacked.
function unpackedVersion(root) {
  return readFileSync(path.join(root, 'version'), 'utf8').trim().replaceAll('\n', ', ');
}

// Writes a template of this directory with its @NAME@s replaced.
function fill(template, file, values) {
  const text = readFileSync(path.join(peersDir, template), 'utf8');
  writeFileSync(file, text.replace(/@([A-Z]+)@/g, (all, name) => values[name] ?? all));
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function isListening(url) {
  return new Promise((resolve) => {
    const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => end(true));
    socket.on('error', () => end(false));
  });
}

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

function pinned(cpus, command, output, environment = {}) {
  const child = spawn('taskset', ['-c', cpus, ...command], {
    stdio: ['ignore', output, output],
    env: { ...process.env, ...environment },
  });
  running.add(child);
  child.ended = new Promise((resolve) => {
    const end = (status) => {
      running.delete(child);
      resolve(status);
    };
    child.on('exit', end);
    child.on('error', () => end(-1));
  });
  return child;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Starts a fresh server and waits for the address that it prints, or until the known one answers.
async function start(server) {
  const known = await server.prepare?.(server);
  const log = path.join(peersDir, `${server.name}.log`);
  const output = openSync(log, 'w');
  const child = pinned(serverCpus, server.command, output, server.environment);
  closeSync(output);
  for (let waited = 0; waited < START_MS; waited += 100) {
    await pause(100);
    if (!running.has(child)) break;
    if (known) {
      if (await isListening(known)) return { child, url: known };
      continue;
    }
    const url = readFileSync(log, 'utf8').match(/ws:\/\/[^\s,]+/);
    if (url) return { child, url: server.url ? server.url(url[0]) : url[0] };
  }
  await end(server, child);
  throw new Error(`did not start: ${readFileSync(log, 'utf8').trim().slice(-300)}`);
}

// Ends a server, and what was started for it.
async function end(server, child) {
  for (const one of [child, server.helper].filter(Boolean)) {
    one.kill('SIGKILL');
    await one.ended;
  }
}

// One run of the generator: its report. What went wrong is in the report too.
async function generate(server, child, url, given) {
  const file = path.join(peersDir, `${server.name}.json`);
  writeFileSync(file, '');
  const protocol = PROTOCOLS[server.speaks];
  const command = [bench, ...given, '--url', url, '--protocol', protocol, '--pid',
    String(child.pid), '--out', `json=${file}`];
  const status = await pinned(clientCpus, command, 'ignore').ended;
  const text = readFileSync(file, 'utf8');
  if (text === '') throw new Error(`${given[0]}: no report (exit status ${status})`);
  return JSON.parse(text);
}

// One work against a fresh server: the report, and the server's bytes when it was warm.
async function measure(server, work) {
  const { child, url } = await start(server);
  try {
    const warm = ['connect', '--connections', String(WARM_COUNT), '--hold', '1s'];
    const warmBytes =
      work.isWarm ? heldBytes(await generate(server, child, url, warm)) : undefined;
    return [await generate(server, child, url, work.arguments), warmBytes];
  } finally {
    await end(server, child);
  }
}

function faults(report) {
  const names = ['failed', 'dropped', 'lost', 'duplicates', 'reordered', 'corrupt'];
  const seen = names.filter((name) => report[name] > 0);
  const counts = seen.map((name) => `${name} ${report[name]}`);
  return report.aborted ? [report.aborted, ...counts] : counts;
}

async function measureAll() {
  for (const server of servers) Object.assign(server, { figures: {}, faults: new Set() });
  for (let round = 1; round <= options.rounds; round++) {
    for (const work of works) {
      for (const server of servers.filter((server) => !server.missing)) {
        try {
          const [report, warmBytes] = await measure(server, work);
          const where = `${work.arguments[0]} of ${work.arguments[2]}`;
          for (const fault of faults(report)) server.faults.add(`${where}: ${fault}`);
          for (const [name, value] of Object.entries(work.figures(report, warmBytes))) {
            (server.figures[name] ??= []).push(value);
          }
          process.stderr.write(`round ${round}: ${server.name}: ${report.title}\n`);
        } catch (error) {
          server.missing = error.message;
        }
      }
    }
  }
}

function median(values = []) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function cell(values, digits, unit = 1) {
  const value = median(values);
  return value === undefined ? '–' : (value / unit).toFixed(digits);
}

function table() {
  const head = ['server', 'speaks', 'CPU per connect (µs)', 'PSS (MiB)',
    'PSS per idle connection (B)', 'CPU per delivery (µs)', 'latency p50 (ms)', 'latency p99 (ms)',
    'coalesced (M deliveries/s)', 'coalesced, per server core (M/s)'];
  const rows = servers.filter((server) => !server.missing).map(({ name, speaks, figures }) => [
    name, speaks, cell(figures.connectUs, 1), cell(figures.warmBytes, 1, 2 ** 20),
    cell(figures.idleBytes, 0), cell(figures.deliveryUs, 2), cell(figures.p50Ms, 2),
    cell(figures.p99Ms, 2), cell(figures.rate, 2, 1e6), cell(figures.ratePerCore, 2, 1e6)]);
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const ruler = head.map((_, column) => (column < 2 ? '---' : '---:'));
  return [head, ruler, ...rows].map(line).join('\n');
}

function page() {
  const cpu = os.cpus()[0].model;
  const memory = Math.round(os.totalmem() / 2 ** 20);
  const versions = servers.filter((server) => !server.missing)
    .map((server) => `${server.name} ${server.version()}`);
  const troubles = servers.flatMap((server) => [
    ...(server.missing ? [`- ${server.name} is missing: ${server.missing}`] : []),
    ...[...server.faults].map((fault) => `- ${server.name}, ${fault}`),
  ]);
  return `# Stompede and its peers

- Machine: ${cores} x ${cpu}, ${memory} MiB, Linux ${os.release()}; server on processor \
${serverCpus}, generator on ${clientCpus}; load before: ${loadBefore}.
- Date: ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC, medians of \
${options.rounds} round(s).
- Versions: ${versions.join('; ')}.

${table()}

Connect: ${options.connections} connections, upgraded and, unless plain, logged in and subscribed. PSS: \
of the process with ${WARM_COUNT} connections, then its growth by each further one, after \
${options.hold} without traffic; without the kernel's buffers; Node's code is shared with \
the script that measures, and memory comes in steps, so that few connections tell little. CPU \
per delivery and latency: ${options.connections} subscribers, 5 messages of 100 B a second, \
latency from the planned send. Coalesced: 100 subscribers, up to 1,024 messages on the way; per \
server core is per second of the server's CPU time. A plain server sends bare messages; STOMP, \
NATS and MQTT (QoS 0) add their headers to each. stompede-plain is the test service \`/broadcast\`, which \
sends to the publisher too, as nchan does. Every run has a fresh server.
${troubles.length > 0 ? `\n${troubles.join('\n')}\n` : '\nNothing lost, dropped or reordered.\n'}`;
}

const loadBefore = os.loadavg().map((load) => load.toFixed(2)).join(' ');
for (const server of servers) {
  const needed = server.needs ?? server.command[0];
  if (!existsSync(needed)) server.missing = `no ${path.basename(needed)} here`;
}
await measureAll();
const text = page();
process.stdout.write(text);
if (options.file) {
  mkdirSync(path.dirname(options.file), { recursive: true });
  writeFileSync(options.file, text);
}
// Peers may fall short; stompede may not.
const ours = servers.filter(({ name }) => name.startsWith('stompede'));
const isOursSound = ours.every(({ missing, faults: seen }) => !missing && seen.size === 0);
process.exit(isOursSound ? 0 : 1);
