// The load generator: one process, one thread, epoll, packets encoded beforehand. It counts and checks every message that it gets back.
// It prints one JSON object per line: {"event":"hold"} where it waits for a line on stdin, {"event":"result"} at the end, {"event":"error"}.
// It must not know which broker it drives; the one that it plays itself (`reflect`) is the measure of its own ceiling.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum { PAYLOAD_MINIMUM = 24, TOPIC_BYTES = 24, READ_BYTES = 1 << 20, CARRY_BYTES = 4096, EVENTS = 512, FILTERS_PER_PACKET = 100 };
enum { MIX_GROUP = 100, MIX_EXACT = 90, MIX_PLUS = 9 };

// ---- options ----------------------------------------------------------------------------------------------------------------

static struct {
  const char *mode, *address, *pids, *subscribe, *publish, *hold;
  u32 mqtt, pubs, subs, topics, qos, sub_qos, per_write, window, payload, rate, count, concurrency, rounds, stopped;
  double seconds, warmup;
  bool spin, sleepy, latency, ack_latency, persistent;
} opt = {
    .mode = "flow", .address = "tcp:127.0.0.1:1883", .pids = "", .subscribe = "own", .publish = "own", .hold = "",
    .mqtt = 4, .pubs = 1, .subs = 1, .topics = 1, .qos = 0, .sub_qos = 9, .per_write = 1, .window = 256, .payload = 64, .rate = 0,
    .count = 1000, .concurrency = 64, .rounds = 1, .stopped = 0, .seconds = 2, .warmup = 0.5, .spin = false, .latency = false,
};

static void fail(const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  for (char *c = text; *c; c++)
    if (*c == '"' || *c == '\\' || (u8)*c < ' ') *c = '\'';
  printf("{\"event\":\"error\",\"message\":\"%s\"}\n", text);
  fflush(stdout);
  exit(1);
}

static u32 number(const char *key, const char *text, u32 maximum) {
  char *end;
  errno = 0;
  unsigned long value = strtoul(text, &end, 10);
  if (errno || *end || end == text || value > maximum) fail("--%s %s: a whole number up to %u is needed", key, text, maximum);
  return (u32)value;
}

static double decimal(const char *key, const char *text) {
  char *end;
  double value = strtod(text, &end);
  if (*end || end == text || !(value >= 0 && value <= 3600)) fail("--%s %s: seconds from 0 to 3600 are needed", key, text);
  return value;
}

static void read_options(int argc, char **argv) {
  struct { const char *key; u32 *value; u32 maximum; } numbers[] = {
      {"mqtt", &opt.mqtt, 5}, {"pubs", &opt.pubs, 1000}, {"subs", &opt.subs, 20000}, {"topics", &opt.topics, 1000000}, {"qos", &opt.qos, 2},
      {"sub-qos", &opt.sub_qos, 2}, {"per-write", &opt.per_write, 1024}, {"window", &opt.window, 60000}, {"payload", &opt.payload, 65536},
      {"rate", &opt.rate, 1000000}, {"count", &opt.count, 1000000}, {"concurrency", &opt.concurrency, 20000}, {"rounds", &opt.rounds, 100},
      {"stopped", &opt.stopped, 100},
  };
  struct { const char *key; const char **value; } texts[] = {
      {"connect", &opt.address}, {"pid", &opt.pids}, {"subscribe", &opt.subscribe}, {"publish", &opt.publish}, {"hold", &opt.hold},
  };
  if (argc > 1) opt.mode = argv[1];
  for (int i = 2; i < argc; i++) {
    const char *key = argv[i] + 2;
    if (strncmp(argv[i], "--", 2)) fail("%s: an option is needed here", argv[i]);
    if (!strcmp(key, "spin")) { opt.spin = true; continue; }
    if (!strcmp(key, "sleepy")) { opt.sleepy = true; continue; }
    if (!strcmp(key, "latency")) { opt.latency = true; continue; }
    if (!strcmp(key, "ack-latency")) { opt.ack_latency = true; continue; }
    if (!strcmp(key, "persistent")) { opt.persistent = true; continue; }
    if (i + 1 == argc) fail("--%s: unknown, or its value is missing", key);
    const char *text = argv[++i];
    bool known = false;
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
      if (!strcmp(key, numbers[n].key)) *numbers[n].value = number(key, text, numbers[n].maximum), known = true;
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
      if (!strcmp(key, texts[n].key)) *texts[n].value = text, known = true;
    if (!strcmp(key, "seconds")) opt.seconds = decimal(key, text), known = true;
    if (!strcmp(key, "warmup")) opt.warmup = decimal(key, text), known = true;
    if (!known) fail("--%s: unknown option", key);
  }
  if (opt.sub_qos == 9) opt.sub_qos = opt.qos;
  if (opt.payload < PAYLOAD_MINIMUM) fail("--payload: at least %d bytes are needed for the marks that are checked", PAYLOAD_MINIMUM);
  if (!opt.topics || !opt.per_write || !opt.concurrency || !opt.rounds || !opt.window) fail("topics, per-write, concurrency, rounds and window start at 1");
  if (opt.mqtt != 4 && opt.mqtt != 5) fail("--mqtt: 4 (3.1.1) or 5");
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) fail("out of memory: %zu x %zu bytes", count, size);
  return memory;
}

// ---- clocks and counters of the broker --------------------------------------------------------------------------------------

static u64 clock_ns(clockid_t clock) {
  struct timespec t;
  return clock_gettime(clock, &t) ? 0 : (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}
static u64 now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static clockid_t broker_clocks[256];
static int broker_clock_count;
static int instruction_fds[2][4096];
static int instruction_count[2];

static void count_instructions(int tid, int kernel) {
  struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE, .size = sizeof attr, .config = PERF_COUNT_HW_INSTRUCTIONS, .inherit = 1};
  attr.exclude_hv = 1;
  if (kernel) attr.exclude_user = 1; else attr.exclude_kernel = 1;
  attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) { instruction_count[kernel] = -1; return; }
  if (instruction_count[kernel] >= 0 && instruction_count[kernel] < 4096) instruction_fds[kernel][instruction_count[kernel]++] = fd;
}

// A process CPU clock has nanoseconds and counts threads that have ended; /proc/PID/stat counts in hundredths of a second.
static void watch_broker(void) {
  for (const char *at = opt.pids; *at;) {
    char *end;
    long pid = strtol(at, &end, 10);
    if (end == at || pid <= 0 || broker_clock_count == 256) fail("--pid %s: process ids with commas between are needed", opt.pids);
    if (clock_getcpuclockid((pid_t)pid, &broker_clocks[broker_clock_count++])) fail("process %ld cannot be watched: is it running?", pid);
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
      int tid = atoi(entry->d_name);
      if (tid <= 0) continue;
      if (instruction_count[0] >= 0) count_instructions(tid, 0);
      if (instruction_count[1] >= 0) count_instructions(tid, 1);
    }
    if (tasks) closedir(tasks);
    at = *end == ',' ? end + 1 : end;
  }
}

static double instructions(int kernel) {
  double sum = 0;
  for (int i = 0; i < instruction_count[kernel]; i++) {
    u64 value[3];
    if (read(instruction_fds[kernel][i], value, sizeof value) == sizeof value && value[2]) sum += (double)value[0] * (double)value[1] / (double)value[2];
  }
  return sum;
}

typedef struct { u64 time, broker, own; double user, kernel; u64 received, published; } moment;

static u64 received, published;

static moment take_moment(void) {
  moment m = {.received = received, .published = published};
  for (int i = 0; i < broker_clock_count; i++) m.broker += clock_ns(broker_clocks[i]);
  m.user = instructions(0);
  m.kernel = instructions(1);
  m.own = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  m.time = now_ns();
  return m;
}

// ---- connections ------------------------------------------------------------------------------------------------------------

enum phase { CLOSED, OPENING, GREETING, READY, CLOSING };

typedef struct conn {
  int fd;
  u32 index, events, carry_length, out_at, out_length, out_capacity;
  char role; // 's' subscriber, 'p' publisher, 'x' a subscriber that stops reading, 'i' idle
  u8 phase;
  bool is_dirty, is_watched, is_stopped;
  u8 *carry, *out;
  u32 filter_next, filter_sent; // of the filters of this connection
  u16 next_id, receive_maximum;
  u32 unacked, topic_at;
  u8 *id_state; // 0 free, 1 PUBLISH sent, 2 PUBREL sent
  u64 *id_sent; // when its PUBLISH was sent; only with --ack-latency
  u64 sent, settled; // messages; deliveries seen or known to be lost
} conn;

static int poller = -1;
static conn *conns; // subscribers first, then publishers, then stopped ones
static u32 conn_count, sub_count, pub_count;
static u32 opened, opening, subscribed, closed, sessions_missing;
static u32 subscribe_first, subscribe_last; // which connections subscribe once they are greeted
static bool is_clean = true;
static u8 *read_buffer;
static conn **dirty;
static u32 dirty_count;
static bool is_tcp, is_quick_ack;
static struct sockaddr_storage peer;
static socklen_t peer_length;

static void read_address(void) {
  if (!strncmp(opt.address, "unix:", 5)) {
    struct sockaddr_un *un = (struct sockaddr_un *)&peer;
    un->sun_family = AF_UNIX;
    if (strlen(opt.address + 5) >= sizeof un->sun_path) fail("%s: the path is too long", opt.address);
    strcpy(un->sun_path, opt.address + 5);
    peer_length = sizeof *un;
  } else {
    struct sockaddr_in *in = (struct sockaddr_in *)&peer;
    char host[64];
    unsigned port;
    in->sin_family = AF_INET;
    if (sscanf(opt.address, "tcp:%63[0-9.]:%u", host, &port) != 2 || port > 65535 || inet_pton(AF_INET, host, &in->sin_addr) != 1)
      fail("%s: tcp:127.0.0.1:1883 or unix:/path is needed", opt.address);
    in->sin_port = htons((u16)port);
    peer_length = sizeof *in;
    is_tcp = true;
  }
}

static void watch(conn *c, u32 events) {
  if (c->is_watched && c->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, c->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
  c->is_watched = true;
  c->events = events;
}

static u32 readable(const conn *c) { return c->is_stopped ? 0 : EPOLLIN; }

static u8 *room(conn *c, u32 bytes) {
  if (c->out_at == c->out_length) c->out_at = c->out_length = 0;
  if (c->out_length + bytes > c->out_capacity) {
    u32 capacity = c->out_capacity ? c->out_capacity : 256;
    while (capacity < c->out_length + bytes) capacity *= 2;
    c->out = realloc(c->out, capacity);
    if (!c->out) fail("out of memory for output");
    c->out_capacity = capacity;
  }
  return c->out + c->out_length;
}

static void flush(conn *c) {
  while (c->out_at < c->out_length) {
    ssize_t n = send(c->fd, c->out + c->out_at, c->out_length - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) { watch(c, readable(c) | EPOLLOUT); return; }
    if (n < 0) fail("connection %c%u: write: %s", c->role, c->index, strerror(errno));
    c->out_at += (u32)n;
  }
  c->out_at = c->out_length = 0;
  watch(c, readable(c));
}

static void mark_dirty(conn *c) {
  if (c->is_dirty) return;
  c->is_dirty = true;
  dirty[dirty_count++] = c;
}

static void flush_dirty(void) {
  for (u32 i = 0; i < dirty_count; i++) {
    dirty[i]->is_dirty = false;
    if (dirty[i]->phase >= GREETING) flush(dirty[i]);
  }
  dirty_count = 0;
}

static void make_conns(u32 subs, u32 pubs, u32 stopped) {
  conn_count = subs + pubs + stopped;
  sub_count = subs;
  pub_count = pubs;
  conns = allocate(conn_count, sizeof *conns);
  dirty = allocate(conn_count, sizeof *dirty);
  for (u32 i = 0; i < conn_count; i++) {
    conn *c = &conns[i];
    c->fd = -1;
    c->role = i < subs ? 's' : i < subs + pubs ? 'p' : 'x';
    c->index = i < subs ? i : i < subs + pubs ? i - subs : i - subs - pubs;
    if (c->role == 'p') c->id_state = allocate(65536, 1);
    if (c->role == 'p' && opt.ack_latency) c->id_sent = allocate(65536, sizeof *c->id_sent);
  }
}

// ---- encoding ---------------------------------------------------------------------------------------------------------------

static u32 put_length(u8 *at, u32 length) {
  u32 n = 0;
  do {
    at[n] = (u8)(length & 127);
    length >>= 7;
    if (length) at[n] |= 128;
    n++;
  } while (length);
  return n;
}

static u32 put_text(u8 *at, const char *text) {
  u32 n = (u32)strlen(text);
  at[0] = (u8)(n >> 8);
  at[1] = (u8)n;
  memcpy(at + 2, text, n);
  return n + 2;
}

static void append_connect(conn *c) {
  u8 body[64];
  char id[16];
  u32 n = put_text(body, "MQTT");
  body[n++] = (u8)opt.mqtt;
  body[n++] = is_clean || c->role == 'p' ? 2 : 0;
  body[n++] = 300 >> 8;
  body[n++] = 300 & 255;
  if (opt.mqtt == 5) {
    const u8 expiry[] = {5, 0x11, 0, 0, 0x0e, 0x10};
    u32 bytes = is_clean ? 1 : sizeof expiry;
    memcpy(body + n, expiry, bytes);
    if (is_clean) body[n] = 0;
    n += bytes;
  }
  snprintf(id, sizeof id, "%c%05u", c->role, c->index);
  n += put_text(body + n, id);
  u8 *at = room(c, n + 5);
  at[0] = 0x10;
  u32 header = 1 + put_length(at + 1, n);
  memcpy(at + header, body, n);
  c->out_length += header + n;
}

static void append_id(conn *c, u8 type, u16 id) {
  u8 *at = room(c, 4);
  at[0] = type;
  at[1] = 2;
  at[2] = (u8)(id >> 8);
  at[3] = (u8)id;
  c->out_length += 4;
  mark_dirty(c);
}

// ---- who publishes what, who must get it ------------------------------------------------------------------------------------
// own: connection i uses topic i. robin: a publisher goes round all topics. wild: a subscriber has one filter for all of them.
// mix: a hundred subscribers share 90 % exact filters, 9 % with +, 1 % with #; each topic is matched by exactly one of each kind.

enum pattern { OWN, ROBIN, WILD, MIX };
static enum pattern subscribing, publishing;
static u32 fan; // deliveries per message

static enum pattern pattern_of(const char *text) {
  const char *names[] = {"own", "robin", "wild", "mix"};
  for (int i = 0; i < 4; i++)
    if (!strcmp(text, names[i])) return (enum pattern)i;
  fail("%s: own, robin, wild or mix is needed", text);
  return OWN;
}

// Names of one width, so that all packets of a run have one length.
static void topic_name(u32 topic, char *text) {
  if (subscribing == MIX)
    snprintf(text, TOPIC_BYTES + 1, "bench/%07u/v%u/d%02utemp", (topic / MIX_EXACT) % 10000000, topic % MIX_EXACT % MIX_PLUS, topic % MIX_EXACT);
  else
    snprintf(text, TOPIC_BYTES + 1, "bench/%07u/level/mean", topic % 10000000);
}

static u32 filter_count(const conn *c) {
  if (c->role == 'x' || subscribing != MIX) return 1;
  return opt.topics / MIX_EXACT;
}

static void filter_name(const conn *c, u32 number, char *text) {
  if (c->role == 'x' || subscribing == WILD)
    strcpy(text, "bench/#");
  else if (subscribing == OWN)
    topic_name(c->index % opt.topics, text);
  else if (c->index < MIX_EXACT)
    topic_name(number * MIX_EXACT + c->index, text);
  else if (c->index < MIX_EXACT + MIX_PLUS)
    snprintf(text, TOPIC_BYTES + 1, "bench/%07u/v%u/+", number % 10000000, c->index - MIX_EXACT);
  else
    snprintf(text, TOPIC_BYTES + 1, "bench/%07u/#", number % 10000000);
}

// The place of this subscriber among the receivers of the topic; -1 if it should never have got the message.
static int slot_of(u32 sub, u32 topic) {
  if (subscribing == WILD) return (int)sub;
  if (subscribing == OWN) return sub % opt.topics == topic ? (int)(sub / opt.topics) : -1;
  u32 device = topic % MIX_EXACT;
  if (sub == device) return 0;
  if (sub == MIX_EXACT + device % MIX_PLUS) return 1;
  return sub == MIX_GROUP - 1 ? 2 : -1;
}

static void prepare_patterns(void) {
  subscribing = pattern_of(opt.subscribe);
  publishing = pattern_of(opt.publish);
  if (subscribing == MIX && (opt.subs != MIX_GROUP || opt.topics % MIX_EXACT)) fail("mix: %d subscribers and a multiple of %d topics are needed", MIX_GROUP, MIX_EXACT);
  if (subscribing == OWN && opt.subs % opt.topics) fail("own: subscribers must be a multiple of topics");
  fan = subscribing == MIX ? 3 : subscribing == WILD ? opt.subs : opt.subs / opt.topics;
}

static void append_subscribe(conn *c) {
  u8 body[FILTERS_PER_PACKET * (TOPIC_BYTES + 3) + 8];
  u32 count = filter_count(c) - c->filter_next, n = 0;
  if (count > FILTERS_PER_PACKET) count = FILTERS_PER_PACKET;
  body[n++] = 0;
  body[n++] = 1;
  if (opt.mqtt == 5) body[n++] = 0;
  for (u32 i = 0; i < count; i++) {
    char name[TOPIC_BYTES + 1];
    filter_name(c, c->filter_next + i, name);
    n += put_text(body + n, name);
    body[n++] = (u8)opt.sub_qos;
  }
  u8 *at = room(c, n + 5);
  at[0] = 0x82;
  u32 header = 1 + put_length(at + 1, n);
  memcpy(at + header, body, n);
  c->out_length += header + n;
  c->filter_sent = count;
  mark_dirty(c);
}

// ---- messages: what is sent, what is expected -------------------------------------------------------------------------------

typedef struct { u32 topic; u16 pub, magic; u32 seq; u32 unused; u64 stamp; } mark; // the start of a payload; its last 4 bytes repeat seq
typedef struct { u64 seen; u32 next; u32 unused; } expectation; // seen: bit n set if message next-1-n came

enum { MAGIC = 0xA70 };
static u8 *templates; // one PUBLISH per topic
static u32 packet_bytes, id_offset, stride = 1;
static bool is_retained;
static u32 *next_seq;        // [pub][topic]
static expectation *expected; // [pub][topic][slot]
static u64 lost, duplicated, out_of_order, misrouted, corrupt, refused, stalls;
static u64 read_at;
static bool is_measuring;

static void prepare_messages(void) {
  u8 header[5];
  u32 remaining = 2 + TOPIC_BYTES + (opt.qos ? 2 : 0) + (opt.mqtt == 5 ? 1 : 0) + opt.payload;
  u32 header_bytes = 1 + put_length(header + 1, remaining);
  header[0] = (u8)(0x30 | opt.qos << 1 | (is_retained ? 1 : 0));
  packet_bytes = header_bytes + remaining;
  id_offset = header_bytes + 2 + TOPIC_BYTES;
  templates = allocate(opt.topics, packet_bytes);
  for (u32 topic = 0; topic < opt.topics; topic++) {
    u8 *at = templates + (size_t)topic * packet_bytes;
    char name[TOPIC_BYTES + 1];
    topic_name(topic, name);
    if (strlen(name) != TOPIC_BYTES) fail("bug: topic %s has the wrong width", name);
    memset(at, 'x', packet_bytes);
    memcpy(at, header, header_bytes);
    put_text(at + header_bytes, name);
    if (opt.mqtt == 5) at[packet_bytes - opt.payload - 1] = 0;
    mark m = {.topic = topic, .magic = MAGIC};
    memcpy(at + packet_bytes - opt.payload, &m, sizeof m);
  }
  next_seq = allocate((size_t)pub_count * opt.topics, sizeof *next_seq);
  expected = allocate((size_t)pub_count * opt.topics * fan, sizeof *expected);
  for (u32 i = 0; i < pub_count; i++) conns[sub_count + i].topic_at = publishing == OWN ? i % opt.topics : (u32)((u64)i * opt.topics / pub_count);
}

static u16 free_id(conn *c) {
  do c->next_id++; while (!c->next_id || c->id_state[c->next_id]);
  return c->next_id;
}

static void append_messages(conn *c, u32 count) {
  u64 stamp = now_ns();
  u8 *at = room(c, count * packet_bytes);
  for (u32 i = 0; i < count; i++, at += packet_bytes) {
    u32 topic = c->topic_at;
    u8 *payload = at + packet_bytes - opt.payload;
    memcpy(at, templates + (size_t)topic * packet_bytes, packet_bytes);
    u32 seq = next_seq[c->index * opt.topics + topic]++;
    if (opt.qos) {
      u16 id = free_id(c);
      c->id_state[id] = 1;
      if (c->id_sent) c->id_sent[id] = stamp;
      at[id_offset] = (u8)(id >> 8);
      at[id_offset + 1] = (u8)id;
    }
    mark m = {.topic = topic, .pub = (u16)c->index, .magic = MAGIC, .seq = seq, .stamp = stamp};
    memcpy(payload, &m, sizeof m);
    memcpy(payload + opt.payload - 4, &seq, 4);
    if (publishing != OWN) {
      c->topic_at += stride;
      while (c->topic_at >= opt.topics) c->topic_at -= opt.topics;
    }
  }
  c->out_length += count * packet_bytes;
  c->sent += count;
  published += count;
  if (opt.qos) c->unacked += count;
}

static u32 histogram[64 * 64];
static u64 histogram_count, histogram_maximum;

static void record(u64 ns) {
  u32 bucket;
  if (ns < 64) bucket = (u32)ns;
  else {
    u32 shift = 63 - (u32)__builtin_clzll(ns) - 5;
    bucket = shift * 32 + (u32)(ns >> shift);
  }
  histogram[bucket]++;
  histogram_count++;
  if (ns > histogram_maximum) histogram_maximum = ns;
}

static double percentile(double share) {
  u64 wanted = (u64)(share * (double)histogram_count), seen = 0;
  for (u32 bucket = 0; bucket < sizeof histogram / sizeof *histogram; bucket++) {
    seen += histogram[bucket];
    if (seen > wanted) {
      if (bucket < 64) return bucket / 1000.0;
      u32 shift = bucket / 32 - 1;
      return (double)((u64)(bucket - shift * 32) << shift) / 1000.0;
    }
  }
  return (double)histogram_maximum / 1000.0;
}

static void on_publish(conn *c, const u8 *packet, const u8 *body, const u8 *end) {
  u32 qos = packet[0] >> 1 & 3, name_bytes = (u32)body[0] << 8 | body[1];
  const u8 *name = body + 2, *at = name + name_bytes + (qos ? 2 : 0);
  if (at <= end && qos) {
    u16 id = (u16)(at[-2] << 8 | at[-1]);
    append_id(c, qos == 1 ? 0x40 : 0x50, id);
  }
  if (opt.mqtt == 5 && at < end) {
    u32 length = 0, shift = 0;
    do length |= (u32)(*at & 127) << shift, shift += 7; while (*at++ & 128 && at < end && shift < 28);
    at += length;
  }
  if (c->role == 'x') return;
  mark m;
  u32 tail;
  if (at + opt.payload != end) { corrupt++; return; }
  memcpy(&m, at, sizeof m);
  memcpy(&tail, end - 4, 4);
  if (m.magic != MAGIC || m.pub >= pub_count || m.topic >= opt.topics || tail != m.seq) { corrupt++; return; }
  const u8 *template = templates + (size_t)m.topic * packet_bytes;
  if (name_bytes != TOPIC_BYTES || memcmp(name, template + id_offset - TOPIC_BYTES, TOPIC_BYTES)) { corrupt++; return; }
  int slot = slot_of(c->index, m.topic);
  if (slot < 0 || (u32)slot >= fan) { misrouted++; return; }
  expectation *e = &expected[((size_t)m.pub * opt.topics + m.topic) * fan + (u32)slot];
  conn *pub = &conns[sub_count + m.pub];
  if (m.seq == e->next) {
    e->next++;
    e->seen = e->seen << 1 | 1;
    pub->settled++;
    received++;
  } else if (m.seq > e->next) {
    u32 gap = m.seq - e->next;
    lost += gap;
    e->next = m.seq + 1;
    e->seen = (gap >= 63 ? 0 : e->seen << (gap + 1)) | 1;
    pub->settled += gap + 1;
    received++;
  } else {
    u32 back = e->next - 1 - m.seq;
    if (back < 64 && !(e->seen >> back & 1)) {
      e->seen |= (u64)1 << back;
      out_of_order++;
      lost--;
      received++;
    } else duplicated++;
  }
  if (opt.latency && is_measuring) record(read_at - m.stamp);
}

static u16 receive_maximum(const u8 *at, const u8 *end) {
  while (at + 2 < end) {
    const u8 *value = at + 1;
    switch (*at) {
    case 0x21: return (u16)(value[0] << 8 | value[1]);
    case 0x24: case 0x25: case 0x28: case 0x29: case 0x2a: at += 2; break;
    case 0x13: case 0x22: at += 3; break;
    case 0x11: case 0x27: at += 5; break;
    case 0x26: at += 3 + (value[0] << 8 | value[1]); if (at + 2 <= end) at += 2 + (at[0] << 8 | at[1]); break;
    default: at += 3 + (value[0] << 8 | value[1]); // the rest are texts
    }
  }
  return 65535;
}

static void on_packet(conn *c, const u8 *packet, const u8 *body, const u8 *end) {
  u16 id = end - body >= 2 ? (u16)(body[0] << 8 | body[1]) : 0;
  if (c->phase == CLOSING) return;
  switch (packet[0] >> 4) {
  case 2:
    if (end - body < 2 || body[1]) fail("connection %c%u: refused with code %u", c->role, c->index, end - body < 2 ? 0 : body[1]);
    c->phase = READY;
    c->receive_maximum = opt.mqtt == 5 ? receive_maximum(body + 3, end) : 65535;
    if (!is_clean && c->role == 's' && !(body[0] & 1)) sessions_missing++;
    opening--;
    opened++;
    u32 number = (u32)(c - conns);
    if (number >= subscribe_first && number < subscribe_last) append_subscribe(c);
    return;
  case 3: on_publish(c, packet, body, end); return;
  case 4:
  case 7:
    if (!c->id_state || c->id_state[id] != (packet[0] >> 4 == 4 ? 1 : 2)) fail("connection %c%u: an acknowledgement of %u that was not asked for", c->role, c->index, id);
    if (end - body > 2 && body[2] >= 0x80) refused++;
    if (c->id_sent && is_measuring) record(read_at - c->id_sent[id]);
    c->id_state[id] = 0;
    c->unacked--;
    return;
  case 5:
    if (!c->id_state || c->id_state[id] != 1) fail("connection %c%u: PUBREC of %u that was not asked for", c->role, c->index, id);
    c->id_state[id] = 2;
    append_id(c, 0x62, id);
    return;
  case 6: append_id(c, 0x70, id); return;
  case 9:
    for (const u8 *code = end - c->filter_sent; code < end; code++)
      if (*code > 2) fail("connection %c%u: subscription refused with %u", c->role, c->index, *code);
    c->filter_next += c->filter_sent;
    if (c->filter_next < filter_count(c)) append_subscribe(c);
    else {
      subscribed++;
      c->is_stopped = c->role == 'x';
      watch(c, readable(c));
    }
    return;
  case 14: fail("connection %c%u: the broker sent DISCONNECT with code %u", c->role, c->index, end > body ? body[0] : 0); return;
  default: fail("connection %c%u: unexpected packet type %u", c->role, c->index, packet[0] >> 4);
  }
}

static void close_conn(conn *c) {
  close(c->fd);
  c->fd = -1;
  c->is_watched = false;
  c->phase = CLOSED;
  c->carry_length = c->out_at = c->out_length = 0;
  closed++;
}

static void on_readable(conn *c) {
  u32 kept = c->carry_length;
  if (kept) memcpy(read_buffer, c->carry, kept);
  ssize_t n = recv(c->fd, read_buffer + kept, READ_BYTES - kept, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    if (c->phase == CLOSING) { close_conn(c); return; }
    fail("connection %c%u: %s", c->role, c->index, n ? strerror(errno) : "closed by the broker");
  }
  if (is_quick_ack) setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
  if (opt.latency || opt.ack_latency) read_at = now_ns();
  const u8 *at = read_buffer, *end = read_buffer + kept + n;
  while (end - at >= 2) {
    u32 length = 0, used = 1, shift = 0;
    bool is_whole = false;
    while (used < 5 && at + used < end) {
      u8 byte = at[used++];
      length |= (u32)(byte & 127) << shift;
      shift += 7;
      if (!(byte & 128)) { is_whole = true; break; }
    }
    if (!is_whole || (u32)(end - at) < used + length) break;
    on_packet(c, at, at + used, at + used + length);
    at += used + length;
  }
  c->carry_length = (u32)(end - at);
  if (c->carry_length) {
    if (c->carry_length > CARRY_BYTES + opt.payload) fail("connection %c%u: a packet of more than %u bytes", c->role, c->index, CARRY_BYTES + opt.payload);
    if (!c->carry) c->carry = allocate(1, CARRY_BYTES + opt.payload);
    memcpy(c->carry, at, c->carry_length);
  }
}

// ---- opening and closing many -----------------------------------------------------------------------------------------------

static bool begin(conn *c) {
  c->fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) fail("socket: %s (raise the limit of open files with ulimit -n)", strerror(errno));
  if (is_tcp) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  if (connect(c->fd, (struct sockaddr *)&peer, peer_length) && errno != EINPROGRESS) {
    int error = errno;
    close(c->fd);
    c->fd = -1;
    if (error == EAGAIN) return false; // a UNIX socket whose backlog is full: later
    fail("connect %s: %s", opt.address, strerror(error));
  }
  c->phase = OPENING;
  opening++;
  watch(c, EPOLLIN | EPOLLOUT);
  return true;
}

static u32 open_next, open_last;

static void open_more(void) {
  while (opening < opt.concurrency && open_next < open_last && begin(&conns[open_next])) open_next++;
}

static void on_writable(conn *c) {
  if (c->phase == OPENING) {
    int error = 0;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    if (error) fail("connect %s: %s", opt.address, strerror(error));
    c->phase = GREETING;
    append_connect(c);
  }
  flush(c);
}

static void turn(int timeout_ms) {
  static struct epoll_event events[EVENTS];
  int n = epoll_wait(poller, events, EVENTS, timeout_ms);
  if (n < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
  for (int i = 0; i < n; i++) {
    conn *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) on_writable(c);
    else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      if (c->is_stopped) fail("connection x%u: closed by the broker", c->index);
      on_readable(c);
    }
  }
  flush_dirty();
}

/** Turns until *counter reaches the goal. The time limit starts again whenever the counter moves. */
static void turn_until(const u32 *counter, u32 goal, const char *what) {
  u64 changed_at = now_ns();
  u32 last = *counter;
  while (*counter < goal) {
    open_more();
    turn(opening < opt.concurrency && open_next < open_last ? 1 : 100);
    if (*counter != last) last = *counter, changed_at = now_ns();
    else if (now_ns() - changed_at > 20000000000) fail("no progress for 20 s: %s %u of %u", what, *counter, goal);
  }
}

static void open_many(u32 first, u32 last) {
  opened = 0;
  open_next = first;
  open_last = last;
  turn_until(&opened, last - first, "connections");
}

static void close_many(u32 first, u32 last) {
  closed = 0;
  for (u32 i = first; i < last; i++) {
    u8 *at = room(&conns[i], 2);
    at[0] = 0xe0;
    at[1] = 0;
    conns[i].out_length += 2;
    flush(&conns[i]);
    conns[i].phase = CLOSING;
    shutdown(conns[i].fd, SHUT_WR);
  }
  turn_until(&closed, last - first, "closed connections");
}

// ---- results ----------------------------------------------------------------------------------------------------------------

static void hold(const char *what) {
  char line[16];
  const char *found = strstr(opt.hold, what);
  if (!found) return;
  printf("{\"event\":\"hold\",\"what\":\"%s\"}\n", what);
  fflush(stdout);
  if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void print_span(const char *name, moment from, moment to, u64 count) {
  double user = instruction_count[0] > 0 ? to.user - from.user : -1, kernel = instruction_count[1] > 0 ? to.kernel - from.kernel : -1;
  printf(",\"%s\":{\"count\":%llu,\"seconds\":%.6f,\"brokerCpuSeconds\":%.6f,\"ownCpuSeconds\":%.6f,\"userInstructions\":%.0f,\"kernelInstructions\":%.0f}", name,
         (unsigned long long)count, (double)(to.time - from.time) / 1e9, (double)(to.broker - from.broker) / 1e9, (double)(to.own - from.own) / 1e9, user, kernel);
}

static void begin_result(void) {
  printf("{\"event\":\"result\",\"mode\":\"%s\",\"lost\":%llu,\"duplicated\":%llu,\"outOfOrder\":%llu,\"misrouted\":%llu,\"corrupt\":%llu,\"refused\":%llu,\"stalls\":%llu,\"sessionsMissing\":%u",
         opt.mode, (unsigned long long)lost, (unsigned long long)duplicated, (unsigned long long)out_of_order, (unsigned long long)misrouted, (unsigned long long)corrupt,
         (unsigned long long)refused, (unsigned long long)stalls, sessions_missing);
}

static void end_result(void) {
  printf("}\n");
  fflush(stdout);
}

// ---- flow: publishers to subscribers for some seconds -----------------------------------------------------------------------

static u64 outstanding(const conn *c) { return c->sent * fan - c->settled; }

static bool may_send(const conn *c, u32 count) {
  if (c->out_at != c->out_length) return false;
  if (outstanding(c) + (u64)count * fan > (u64)opt.window * fan) return false;
  return !opt.qos || c->unacked + count <= c->receive_maximum;
}

static bool is_settled(void) {
  for (u32 i = 0; i < pub_count; i++)
    if (outstanding(&conns[sub_count + i]) || conns[sub_count + i].unacked) return false;
  return true;
}

// A broker may drop QoS 0: what never comes must not hold the publishers up for ever.
static void give_up_outstanding(void) {
  if (opt.qos && opt.sub_qos) fail("nothing came for 5 s although %llu messages are on their way", (unsigned long long)(published - received / fan));
  stalls++;
  for (u32 i = 0; i < pub_count; i++) conns[sub_count + i].settled = conns[sub_count + i].sent * fan;
}

// At least 1: with --sleepy the messages need not be sent at even intervals, but others must get the core in between.
static int milliseconds_until(u64 time) {
  u64 now = now_ns();
  return time <= now ? 1 : (int)((time - now) / 1000000 + 1);
}

static void flow(void) {
  prepare_patterns();
  make_conns(opt.subs, opt.pubs, opt.stopped);
  if (subscribing == MIX) stride = 7919;
  prepare_messages();
  is_clean = !opt.persistent;
  is_quick_ack = is_tcp && opt.ack_latency; // as in publish_all: not the broker's delay, or not its alone
  subscribe_last = opt.subs;
  open_many(0, opt.subs);
  sessions_missing = 0; // they are new
  moment subscribing_since = take_moment();
  turn_until(&subscribed, opt.subs, "subscribers");
  moment subscribing_until = take_moment();
  open_many(opt.subs, opt.subs + opt.pubs);
  if (opt.stopped) {
    subscribe_last = conn_count;
    open_many(opt.subs + opt.pubs, conn_count);
    turn_until(&subscribed, opt.subs + opt.stopped, "subscribers");
  }
  hold("subscribed");

  u64 start = now_ns(), from = start + (u64)(opt.warmup * 1e9), to = from + (u64)(opt.seconds * 1e9);
  u64 progress = 0, progress_at = start, due = start, patience = opt.qos && opt.sub_qos ? 5000000000 : 1000000000;
  u64 step = opt.rate ? 1000000000 / opt.rate : 0;
  u32 first = 0;
  moment before = take_moment(), after = before;
  for (bool is_over = opt.seconds == 0; !is_over;) {
    u64 now = now_ns();
    if (!is_measuring && now >= from) is_measuring = true, before = take_moment();
    if (now >= to) break;
    if (received != progress) progress = received, progress_at = now;
    else if (now - progress_at > patience) give_up_outstanding(), progress_at = now;
    bool is_eager = opt.spin || (step && !opt.sleepy);
    for (u32 i = 0; i < pub_count; i++) {
      conn *c = &conns[sub_count + (first + i) % pub_count];
      if (!may_send(c, opt.per_write)) continue;
      if (step && now < due) break;
      due += step;
      append_messages(c, opt.per_write);
      flush(c);
      if (!opt.sleepy && may_send(c, opt.per_write)) is_eager = true;
    }
    first++;
    turn(is_eager ? 0 : step ? milliseconds_until(due) : 100);
  }
  after = take_moment();
  is_measuring = false;
  u64 drain_until = now_ns() + 5000000000;
  for (progress_at = now_ns(); opt.seconds > 0 && !is_settled() && now_ns() < drain_until && now_ns() - progress_at < 1500000000;) {
    turn(50);
    if (received != progress) progress = received, progress_at = now_ns();
  }
  for (u32 p = 0; p < pub_count; p++)
    for (u32 t = 0; t < opt.topics; t++)
      for (u32 s = 0; s < fan; s++) lost += next_seq[p * opt.topics + t] - expected[((size_t)p * opt.topics + t) * fan + s].next;
  u32 unacked = 0;
  for (u32 p = 0; p < pub_count; p++) unacked += conns[sub_count + p].unacked;
  hold("end");
  begin_result();
  print_span("flow", before, after, after.received - before.received);
  printf(",\"published\":%llu,\"unacknowledged\":%u", (unsigned long long)(after.published - before.published), unacked);
  u64 filters = 0;
  for (u32 i = 0; i < opt.subs; i++) filters += filter_count(&conns[i]);
  print_span("subscribe", subscribing_since, subscribing_until, filters);
  if (histogram_count)
    printf(",\"latencyMicros\":{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f,\"count\":%llu}", percentile(.5), percentile(.9), percentile(.99),
           percentile(.999), (double)histogram_maximum / 1000.0, (unsigned long long)histogram_count);
  end_result();
}

// ---- connect: many connections that stay ------------------------------------------------------------------------------------

static void connect_many(void) {
  make_conns(opt.count, 0, 0);
  for (u32 i = 0; i < conn_count; i++) conns[i].role = 'i';
  moment before = take_moment();
  open_many(0, conn_count);
  moment after = take_moment();
  hold("connected");
  begin_result();
  print_span("connect", before, after, conn_count);
  end_result();
}

// ---- publishing a fixed number and waiting for the acknowledgements ---------------------------------------------------------

static void publish_all(conn *c, u32 count) {
  is_quick_ack = is_tcp; // a broker with Nagle's algorithm would wait 40 ms for our delayed ACK whenever the window is full
  u64 goal = c->sent + count, progress_at = now_ns();
  u32 last = 0;
  while (c->sent < goal || c->unacked) {
    u32 batch = goal - c->sent < opt.per_write ? (u32)(goal - c->sent) : opt.per_write;
    u32 limit = opt.window < c->receive_maximum ? opt.window : c->receive_maximum;
    while (batch && c->out_at == c->out_length && c->unacked + batch <= limit) {
      append_messages(c, batch);
      flush(c);
      batch = goal - c->sent < opt.per_write ? (u32)(goal - c->sent) : opt.per_write;
    }
    turn(100);
    if (c->unacked != last) last = c->unacked, progress_at = now_ns();
    else if (now_ns() - progress_at > 10000000000) fail("no acknowledgement for 10 s: %u outstanding", c->unacked);
  }
}

static void wait_received(u64 goal, const char *what) {
  u64 progress = received, progress_at = now_ns();
  while (received < goal) {
    open_more();
    turn(opening < opt.concurrency && open_next < open_last ? 1 : 100);
    if (received != progress) progress = received, progress_at = now_ns();
    else if (now_ns() - progress_at > 10000000000) {
      lost += goal - received;
      fprintf(stderr, "%s: %llu messages never came\n", what, (unsigned long long)(goal - received));
      return;
    }
  }
}

// count retained messages are stored at QoS 1, then `rounds` new subscribers get all of them at QoS 0.
static void retained(void) {
  is_retained = true;
  opt.subscribe = "wild";
  opt.publish = "robin";
  opt.qos = 1;
  opt.sub_qos = 0;
  opt.topics = opt.count;
  opt.subs = opt.rounds;
  prepare_patterns();
  make_conns(opt.subs, 1, 0);
  prepare_messages();
  open_many(opt.subs, opt.subs + 1);
  moment before = take_moment();
  publish_all(&conns[opt.subs], opt.count);
  moment after = take_moment();
  hold("stored");
  u64 goal = 0;
  moment deliver_before = take_moment();
  for (u32 i = 0; i < opt.rounds; i++) {
    subscribe_first = i;
    subscribe_last = i + 1;
    goal += opt.count;
    open_many(i, i + 1);
    wait_received(goal, "retained");
  }
  moment deliver_after = take_moment();
  begin_result();
  print_span("store", before, after, opt.count);
  print_span("deliver", deliver_before, deliver_after, received);
  end_result();
}

// subs sessions go offline, `count` messages at QoS 1 wait for each, then all come back at once.
static void storm(void) {
  opt.subscribe = "own";
  opt.publish = "robin";
  opt.topics = opt.subs;
  opt.qos = opt.sub_qos = 1;
  prepare_patterns();
  make_conns(opt.subs, 1, 0);
  prepare_messages();
  is_clean = false;
  subscribe_last = opt.subs;
  open_many(0, opt.subs);
  turn_until(&subscribed, opt.subs, "subscribers");
  close_many(0, opt.subs);
  sessions_missing = 0;
  subscribe_last = 0;
  open_many(opt.subs, opt.subs + 1);
  u64 goal = 0;
  u32 concurrency = opt.concurrency;
  moment storms[100][2], stores[100][2];
  for (u32 round = 0; round < opt.rounds; round++) {
    stores[round][0] = take_moment();
    publish_all(&conns[opt.subs], opt.subs * opt.count);
    stores[round][1] = take_moment();
    goal += opt.subs * opt.count;
    hold("queued");
    opt.concurrency = opt.subs;
    storms[round][0] = take_moment();
    opened = 0;
    open_next = 0;
    open_last = opt.subs;
    wait_received(goal, "storm");
    storms[round][1] = take_moment();
    turn_until(&opened, opt.subs, "connections");
    opt.concurrency = concurrency;
    close_many(0, opt.subs);
  }
  begin_result();
  for (u32 round = 0; round < opt.rounds; round++) {
    char name[16];
    snprintf(name, sizeof name, "storm%u", round);
    print_span(name, storms[round][0], storms[round][1], opt.subs * opt.count);
    snprintf(name, sizeof name, "store%u", round);
    print_span(name, stores[round][0], stores[round][1], opt.subs * opt.count);
  }
  end_result();
}

// ---- reflect: the broker that knows everything beforehand -------------------------------------------------------------------
// It is started with the options of the flow that it serves: packets have one length, the payload says which topic it is, client identifiers
// say who is who. So it looks nothing up and understands nothing; what it reaches is as far as the generator can measure.

static conn *reflect_subs[20000];

static void reflect_packet(conn *c, u8 *at, u32 bytes) {
  u8 type = at[0] >> 4;
  if (type == 1) {
    const u8 connack[] = {0x20, 2, 0, 0};
    memcpy(room(c, 4), connack, 4);
    c->out_length += 4;
    c->role = (char)at[14];
    c->index = (u32)atoi((char[]){(char)at[15], (char)at[16], (char)at[17], (char)at[18], (char)at[19], 0});
    if (c->role == 's') reflect_subs[c->index] = c;
    mark_dirty(c);
  } else if (type == 8) {
    u8 *out = room(c, 5);
    u8 suback[] = {0x90, 3, at[2], at[3], 0};
    memcpy(out, suback, 5);
    c->out_length += 5;
    mark_dirty(c);
  } else if (type == 3) {
    u32 topic;
    memcpy(&topic, at + bytes - opt.payload, 4);
    if (opt.qos) append_id(c, opt.qos == 1 ? 0x40 : 0x50, (u16)(at[id_offset] << 8 | at[id_offset + 1]));
    for (u32 i = subscribing == OWN ? topic : 0; i < opt.subs; i += subscribing == OWN ? opt.topics : 1) {
      conn *sub = reflect_subs[i];
      memcpy(room(sub, bytes), at, bytes);
      sub->out_length += bytes;
      mark_dirty(sub);
    }
  } else if (type == 5) append_id(c, 0x62, (u16)(at[2] << 8 | at[3]));
  else if (type == 6) append_id(c, 0x70, (u16)(at[2] << 8 | at[3]));
}

static void reflect(void) {
  prepare_patterns();
  prepare_messages();
  int listener = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
  if (listener < 0 || bind(listener, (struct sockaddr *)&peer, peer_length) || listen(listener, 4096)) fail("listen %s: %s", opt.address, strerror(errno));
  dirty = allocate(20100, sizeof *dirty);
  printf("{\"event\":\"listening\"}\n");
  fflush(stdout);
  struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
  if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl: %s", strerror(errno));
  for (;;) {
    int n = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      conn *c = events[i].data.ptr;
      if (!c) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) continue;
        if (is_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        c = allocate(1, sizeof *c);
        c->fd = fd;
        c->phase = READY;
        c->role = '?';
        c->carry = allocate(1, CARRY_BYTES + opt.payload);
        watch(c, EPOLLIN);
        continue;
      }
      if (events[i].events & EPOLLOUT) { mark_dirty(c); continue; }
      memcpy(read_buffer, c->carry, c->carry_length);
      ssize_t got = recv(c->fd, read_buffer + c->carry_length, 65536, MSG_DONTWAIT);
      if (got <= 0) exit(0); // the generator has gone
      u8 *at = read_buffer, *end = read_buffer + c->carry_length + got;
      while (end - at >= 2) {
        u32 bytes = at[0] >> 4 == 3 ? packet_bytes : 2u + at[1];
        if ((u32)(end - at) < bytes) break;
        reflect_packet(c, at, bytes);
        at += bytes;
      }
      c->carry_length = (u32)(end - at);
      memcpy(c->carry, at, c->carry_length);
    }
    flush_dirty();
  }
}

int main(int argc, char **argv) {
  read_options(argc, argv);
  read_address();
  struct rlimit files;
  if (!getrlimit(RLIMIT_NOFILE, &files)) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  poller = epoll_create1(EPOLL_CLOEXEC);
  read_buffer = allocate(1, READ_BYTES);
  watch_broker();
  if (!strcmp(opt.mode, "flow")) flow();
  else if (!strcmp(opt.mode, "connect")) connect_many();
  else if (!strcmp(opt.mode, "retained")) retained();
  else if (!strcmp(opt.mode, "storm")) storm();
  else if (!strcmp(opt.mode, "reflect")) reflect();
  else fail("%s: flow, connect, retained, storm or reflect is needed", opt.mode);
  return 0;
}
