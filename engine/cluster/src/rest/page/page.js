'use strict';
// The page of a Flott cluster. It asks the REST API beside itself, wherever a proxy has put that, and asks again every few seconds.

// Tokens come in the fragment, which browsers keep to themselves. Behind YARN's proxy the pages of all applications have one origin, so
// there they stay in this page's memory; elsewhere the tab remembers them.
const shared = location.pathname.includes('/proxy/');
const store = { get: (k) => (shared ? null : sessionStorage.getItem('flott ' + k)), set: (k, v) => { if (!shared) sessionStorage.setItem('flott ' + k, v); } };
const tokens = { read: store.get('read') || '', change: store.get('change') || '' };
function takeTokens(text) {
  const found = new URLSearchParams(text.slice(text.indexOf('#') + 1));
  const read = found.get('read'), change = found.get('token');
  if (!read && !change) return false;
  tokens.read = read || tokens.read;
  tokens.change = change || tokens.change;
  store.set('read', tokens.read);
  store.set('change', tokens.change);
  return true;
}
// With the tokens may come where to go: #read=…&token=…&go=job/ID
function openFragment() {
  const text = location.hash;
  if (takeTokens(text)) history.replaceState(null, '', '#/' + (new URLSearchParams(text.slice(1)).get('go') || 'jobs'));
}
openFragment();

const last = location.pathname.split('/').pop();
const base = last && last !== 'index.html' ? last + '/' : '';

async function call(path, options) {
  const token = tokens.read || tokens.change;
  const headers = { Accept: 'application/json' + (token ? ';flott-token=' + token : '') };
  const reply = await fetch(base + path, { headers, cache: 'no-store', credentials: 'same-origin', ...options });
  if (reply.ok) return (reply.headers.get('content-type') || '').includes('json') ? reply.json() : reply.text();
  let why = reply.status + ' ' + reply.statusText;
  try { why = (await reply.json()).errors.join(' '); } catch { /* no words came with it */ }
  throw Object.assign(new Error(why), { status: reply.status });
}
// A change is a PUT whose body proves the token: the one way that passes YARN's proxy.
const change = (path, content) => call(path, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ ...content, token: tokens.change }) });

// Elements.
const SVG = 'http://www.w3.org/2000/svg';
function make(ns, tag, attributes, ...children) {
  const element = ns ? document.createElementNS(ns, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
const h = (tag, attributes, ...children) => make(null, tag, attributes, ...children);
const s = (tag, attributes, ...children) => make(SVG, tag, attributes, ...children);
// Makes `old` like `now` and touches only what differs, so that focus, scrolling and selections stay.
function morph(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName || (old.getAttribute && old.getAttribute('data-key') !== now.getAttribute('data-key'))) {
    old.replaceWith(now);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  if (old.hasAttribute('data-keep')) return;
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const olds = [...old.childNodes], nows = [...now.childNodes];
  nows.forEach((child, n) => (olds[n] ? morph(olds[n], child) : old.append(child)));
  olds.slice(nows.length).forEach((child) => child.remove());
}
const fill = (id, ...children) => {
  const old = document.getElementById(id), now = old.cloneNode(false);
  now.append(...children.flat(9).filter(Boolean));
  morph(old, now);
};

// Figures for people.
const round = (x) => (x >= 100 ? Math.round(x) : x >= 10 ? Math.round(x * 10) / 10 : Math.round(x * 100) / 100);
function scaled(x, step, units) {
  let n = 0;
  while (x >= step && n < units.length - 1) { x /= step; n += 1; }
  return round(x) + (units[n] ? ' ' + units[n] : '');
}
const count = (x) => (x < 10000 ? round(x).toLocaleString('en') : scaled(x, 1000, ['', 'k', 'M', 'G', 'T']));
const bytes = (x) => scaled(x, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
function span(ms) {
  if (ms === null || ms === undefined || ms < 0) return '–';
  if (ms < 1000) return ms + ' ms';
  const seconds = Math.floor(ms / 1000), parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  return parts.slice(first, first + 2).map(([size, unit], n) => [Math.floor((n ? seconds % parts[first][0] : seconds) / size), unit]).filter(([x], n) => x || !n).map((part) => part.join(' ')).join(' ');
}
const time = (ms) => (ms > 0 ? new Date(ms).toLocaleString('sv') : '–');
const percent = (x) => Math.round(x / 10) + ' %';
const badge = (state) => h('span', { class: 'state ' + state }, state);
const table = (heads, rows, empty) => (rows.length ? h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col', class: head.startsWith('#') && 'n' }, head.replace('#', ''))))), h('tbody', {}, rows))) : h('p', { class: 'quiet' }, empty));
const row = (cells, attributes) => h('tr', attributes, cells.map((cell) => (cell && cell.n !== undefined ? h('td', { class: 'n' }, cell.n) : h('td', {}, cell))));
const n = (x) => ({ n: x });
const link = (to, ...children) => h('a', { href: '#/' + to }, ...children);
const facts = (pairs) => h('div', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => h('span', {}, name + ' ', h('b', {}, value))));
function shares(load, width, height) {
  const bar = s('svg', { viewBox: '0 0 1000 10', preserveAspectRatio: 'none', width, height, role: 'img', 'aria-label': load ? `busy ${percent(load.busy)}, held back ${percent(load.backPressured)}, idle ${percent(load.idle)}` : 'no figures yet' });
  let x = 0;
  for (const [kind, part] of load ? [['busy', load.busy], ['back', load.backPressured], ['idle', load.idle]] : [['idle', 1000]]) {
    bar.append(s('rect', { class: kind, x, y: 0, width: Math.max(0, part), height: 10 }));
    x += part;
  }
  return bar;
}

// Where we are: #/view/id/tab/part
const route = () => {
  const [view, id, tab, part] = location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
  return { view: view || 'jobs', id, tab, part };
};
let overview = null, paused = false, timer = null, generation = 0;

function header() {
  const within = { job: 'jobs', taskmanager: 'taskmanagers', run: 'programs' }, at = within[route().view] || route().view, o = overview && overview.overview;
  const items = [['jobs', 'Jobs'], ['taskmanagers', 'TaskManagers'], ['programs', 'Programs'], ['configuration', 'Configuration'], ['logs', 'Logs']];
  fill('top',
    h('div', { class: 'bar' },
      h('a', { class: 'brand', href: '#/jobs' }, 'Flott'),
      overview && h('span', { class: 'quiet' }, overview.version),
      o && h('span', {}, h('b', {}, o['jobs-running']), ' running'),
      o && h('span', {}, h('b', {}, `${o['slots-available']} of ${o['slots-total']}`), ' slots free'),
      o && h('span', {}, h('b', {}, o.taskmanagers), o.taskmanagers === 1 ? ' TaskManager' : ' TaskManagers'),
      h('span', { class: 'push quiet' }, tokens.change ? 'may change' : 'read only'),
      h('button', { 'data-act': 'pause', 'aria-pressed': String(paused) }, paused ? 'Go on' : 'Pause')),
    h('nav', { 'aria-label': 'Main' }, items.map(([view, name]) => h('a', { href: '#/' + view, 'aria-current': at === view && 'page' }, name))));
}

function jobRow(job) {
  const tasks = job.tasks;
  return row([link('job/' + job.jid, job.name), badge(job.state), time(job['start-time']), n(span(job.duration)), n(`${tasks.running} of ${tasks.total}`), h('code', {}, job.jid)]);
}
function jobsView() {
  const over = ['FINISHED', 'FAILED', 'CANCELED'], heads = ['Name', 'State', 'Started', '#Duration', '#Tasks running', 'Id'];
  const running = overview.jobs.filter((job) => !over.includes(job.state)), ended = overview.jobs.filter((job) => over.includes(job.state));
  return [h('h1', {}, 'Jobs'),
    h('section', { class: 'card' }, table(heads, running.reverse().map(jobRow), 'No job runs. Submit one: flott run PROGRAM, or upload it under Programs.')),
    h('h2', {}, 'Over'), h('section', { class: 'card' }, table(heads, ended.reverse().map(jobRow), 'None yet.'))];
}

// The graph: layers by the longest way from a source; an edge over several layers goes through a point in each.
function layout(vertices) {
  const byId = new Map(vertices.map((v) => [v.id, { v, kind: 'node', id: v.id, before: [], after: [] }]));
  const depth = new Map();
  for (const v of vertices) depth.set(v.id, Math.max(-1, ...v.inputs.map((i) => depth.get(i.id) ?? -1)) + 1);
  const layers = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  vertices.forEach((v) => layers[depth.get(v.id)].push(byId.get(v.id)));
  const edges = [];
  for (const v of vertices) {
    for (const input of v.inputs) {
      const points = [byId.get(input.id)];
      for (let d = depth.get(input.id) + 1; d < depth.get(v.id); d += 1) {
        const point = { kind: 'point', before: [], after: [] };
        layers[d].push(point);
        points.push(point);
      }
      points.push(byId.get(v.id));
      for (let i = 1; i < points.length; i += 1) { points[i].before.push(points[i - 1]); points[i - 1].after.push(points[i]); }
      edges.push({ input, from: points[0].v, to: v, points });
    }
  }
  const place = () => layers.forEach((layer) => layer.forEach((item, at) => { item.at = at; }));
  place();
  for (let pass = 0; pass < 8; pass += 1) {
    for (const layer of pass % 2 ? [...layers].reverse() : layers) {
      const mean = (item) => {
        const near = pass % 2 ? item.after : item.before;
        return near.length ? near.reduce((sum, other) => sum + other.at, 0) / near.length : item.at;
      };
      const wanted = new Map(layer.map((item) => [item, mean(item)]));
      layer.sort((a, b) => wanted.get(a) - wanted.get(b));
      place();
    }
  }
  const W = 250, H = 124, GAPX = 96, GAPY = 26;
  const height = Math.max(1, ...layers.map((layer) => layer.length)) * (H + GAPY);
  layers.forEach((layer, d) => layer.forEach((item, at) => {
    item.x = 10 + d * (W + GAPX);
    item.y = 10 + (height - layer.length * (H + GAPY)) / 2 + at * (H + GAPY);
  }));
  return { nodes: [...byId.values()], edges, W, H, width: layers.length * (W + GAPX) - GAPX + 20, height: height + 10 };
}
const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + '…' : text);
function graph(job, chosen) {
  const { nodes, edges, W, H, width, height } = layout(job.vertices);
  const hot = new Set(job.diagnosis.filter((f) => f.warning && f.text.includes('holds the job back')).map((f) => f.vertex));
  const held = (v) => Boolean(v.load) && v.load.backPressured >= 100;
  const path = ({ points }) => {
    let d = `M${points[0].x + W} ${points[0].y + H / 2}`;
    for (let i = 1; i < points.length; i += 1) {
      const from = points[i - 1], to = points[i], x1 = from.x + W, y1 = from.y + H / 2, y2 = to.y + H / 2, mid = (x1 + to.x) / 2;
      d += `C${mid} ${y1} ${mid} ${y2} ${to.x} ${y2}` + (to.kind === 'point' ? `L${to.x + W} ${y2}` : '');
    }
    return d;
  };
  const picture = s('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Plan of the job: ' + job.vertices.length + ' vertices' },
    s('defs', {}, s('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 8, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto' }, s('path', { class: 'arrow', d: 'M0 0L8 4L0 8Z' }))),
    edges.map((edge) => {
      const [from, to] = [edge.points[edge.points.length - 2], edge.points[edge.points.length - 1]];
      return [s('path', { class: 'edge' + (edge.input.blocking ? ' blocking' : '') + (held(edge.from) && (hot.has(edge.to.id) || held(edge.to)) ? ' held' : ''), d: path(edge), 'marker-end': 'url(#tip)' }),
        s('text', { class: 'small on', x: (from.x + W + to.x) / 2, y: (from.y + to.y + H) / 2 + 4, 'text-anchor': 'middle' }, edge.input.ship.toLowerCase())];
    }),
    nodes.map(({ v, x, y }) => {
      const load = v.load, uneven = v.parallelism > 1;
      const words = `${v.name}, ${v.parallelism} subtasks, ${v.state}` + (load ? `, busy ${percent(load.busy)}, held back ${percent(load.backPressured)}` : '') + (uneven ? `, skew ${Math.round(v.skew)} %` : '');
      const bar = shares(load, W - 24, 8);
      bar.setAttribute('x', 12); bar.setAttribute('y', 88); bar.setAttribute('aria-hidden', 'true');
      return s('g', { class: 'node' + (hot.has(v.id) ? ' hot' : held(v) ? ' held' : '') + (chosen === v.id ? ' chosen' : ''), transform: `translate(${x} ${y})`, tabindex: 0, role: 'button', 'aria-label': words, 'aria-pressed': String(chosen === v.id), 'data-act': 'vertex', 'data-to': v.id },
        s('title', {}, v.name), s('rect', { class: 'plate', width: W, height: H, rx: 8 }),
        uneven && s('rect', { class: 'uneven', x: 3, y: 8, width: 5, height: H - 16, rx: 2.5, 'fill-opacity': Math.min(1, v.skew / 100).toFixed(2) }),
        s('text', { class: 'name', x: 12, y: 22 }, cut(v.name, 33)),
        s('text', { class: 'small', x: 12, y: 41 }, `× ${v.parallelism}  ${v.state.toLowerCase()}`),
        uneven && s('text', { class: v.skew >= 40 ? 'skew' : 'small', x: W - 12, y: 41, 'text-anchor': 'end' }, `skew ${Math.round(v.skew)} %`),
        s('text', { class: 'small', x: 12, y: 60 }, `in ${count(v.readRate)}/s   out ${count(v.writtenRate)}/s`),
        s('text', { class: 'small', x: 12, y: 78 }, v.watermark === null ? 'no watermark' : 'watermark ' + (v.watermark >= 9e15 ? 'at the end' : time(v.watermark))),
        bar,
        s('text', { class: 'small', x: 12, y: 113 }, load ? `busy ${percent(load.busy)}` : 'no figures yet'),
        load && s('text', { class: 'small', x: W - 12, y: 113, 'text-anchor': 'end' }, `held back ${percent(load.backPressured)}`));
    }));
  const swatch = (kind) => s('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, s('rect', { class: kind, width: 10, height: 10 }));
  return h('section', { class: 'card', 'aria-label': 'Graph' }, h('div', { class: 'scroll', 'data-key': 'graph' }, picture),
    h('p', { class: 'legend' }, h('span', {}, swatch('busy'), ' busy'), h('span', {}, swatch('back'), ' held back by who reads it'), h('span', {}, swatch('idle'), ' idle'), h('span', {}, 'red frame: others wait for it; violet frame and line: held back; dashed: blocking exchange'), h('span', {}, swatch('uneven'), ' skew: the stronger the stripe at the left, the more unevenly its subtasks get records')));
}
function subtasks(job, vertex) {
  const rows = vertex.subtasks.map((t) => row([n(t.index + 1), [badge(t.state), t.attempt ? ' attempt ' + (t.attempt + 1) : ''],
    t.load ? h('span', { title: `busy ${percent(t.load.busy)} (at work ${percent(t.load.working)}), held back ${percent(t.load.backPressured)}, idle ${percent(t.load.idle)}` }, shares(t.load, 120, 10), ' ' + percent(t.load.busy)) : '–',
    n(count(t.readRate)), n(count(t.read)), n(count(t.writtenRate)), n(count(t.written)), n(bytes(t.bytesIn)), n(bytes(t.bytesOut)), n(count(t.late)), n(bytes(t.memory)), t.watermark === null ? '–' : t.watermark >= 9e15 ? 'at the end' : time(t.watermark), t.taskManager ? link('taskmanager/' + t.taskManager, t.address) : '–']));
  return h('section', { class: 'card' }, h('h2', {}, vertex.name), facts([['operators', vertex.operators.join(' → ')], ['max parallelism', vertex.maxParallelism], ['skew', Math.round(vertex.skew) + ' %'], ['state and memory', bytes(vertex.memory)], ['late', count(vertex.late)]]),
    table(['#Subtask', 'State', 'Busy', '#In /s', '#In', '#Out /s', '#Out', '#Bytes in', '#Bytes out', '#Late', '#Memory', 'Watermark', 'TaskManager'], rows, 'None runs yet.'));
}
const vertexTable = (job, chosen) => h('section', { class: 'card' }, table(['Vertex', 'State', '#Subtasks', 'Busy, held back, idle', '#In /s', '#In', '#Out /s', '#Out', '#Skew'],
  job.vertices.map((v) => row([h('button', { class: 'plain', 'data-act': 'vertex', 'data-to': v.id }, v.name), badge(v.state), n(v.parallelism), v.load ? [shares(v.load, 140, 10), ` ${percent(v.load.busy)}, ${percent(v.load.backPressured)}, ${percent(v.load.idle)}`] : '–', n(count(v.readRate)), n(count(v.read)), n(count(v.writtenRate)), n(count(v.written)), n(Math.round(v.skew) + ' %')], { class: chosen === v.id && 'chosen' })), 'No vertices.'));

function checkpointsTab(data) {
  const { overview: c, config } = data, never = config.interval > 1e15;
  const size = c.summary.state_size, took = c.summary.end_to_end_duration;
  return [facts([['completed', c.counts.completed], ['failed', c.counts.failed], ['in progress', c.counts.in_progress], ['restored', c.counts.restored], ['interval', never ? 'never' : span(config.interval)], ['mode', config.mode], ['time', took.max ? `${span(took.min)} to ${span(took.max)}, half in ${span(Math.round(took.p50))}` : null], ['size', size.max ? `${bytes(size.min)} to ${bytes(size.max)}` : null]]),
    h('section', { class: 'card' }, table(['#Id', 'State', 'Begun', '#Took', '#State', '#Answers', 'Where, or why not'], c.history.map((k) => row([n(k.id), badge(k.status), time(k.trigger_timestamp), n(span(k.end_to_end_duration)), n(bytes(k.state_size)), n(`${k.num_acknowledged_subtasks} of ${k.num_subtasks}`), k.failure_message || [k.external_path, k.discarded ? ' (gone: newer ones took its place)' : '']])), never ? 'This job takes no checkpoints: set execution.checkpointing.interval.' : 'None yet.'))];
}
const exceptionsTab = (e) => (e.exceptionHistory.entries.length ? e.exceptionHistory.entries.map((x) => h('section', { class: 'card' }, h('p', {}, h('b', {}, time(x.timestamp)), ' ', x.taskName || 'the job', x.location ? h('span', { class: 'quiet' }, ' at ' + x.location) : ''), h('pre', {}, x.stacktrace))) : [h('p', { class: 'quiet' }, e['root-exception'] || 'Nothing has failed.')]);
const configTable = (entries) => h('section', { class: 'card' }, table(['Key', 'Value'], entries.map(({ key, value }) => row([h('code', {}, key), h('code', {}, value)])), 'Nothing is set: everything has its default.'));

async function jobView({ id, tab, part }) {
  tab = tab || 'graph';
  const job = await call('flott/jobs/' + id);
  const over = ['FINISHED', 'FAILED', 'CANCELED'].includes(job.state), tabs = [['graph', 'Graph'], ['checkpoints', 'Checkpoints'], ['exceptions', 'Exceptions'], ['configuration', 'Configuration']];
  let content = [];
  if (tab === 'graph') {
    const chosen = job.vertices.find((v) => v.id === part);
    content = [graph(job, part), chosen && subtasks(job, chosen), vertexTable(job, part)];
  } else if (tab === 'checkpoints') {
    const [all, config] = await Promise.all([call(`jobs/${id}/checkpoints`), call(`jobs/${id}/checkpoints/config`)]);
    content = checkpointsTab({ overview: all, config });
  } else if (tab === 'exceptions') content = exceptionsTab(await call(`jobs/${id}/exceptions`));
  else content = [configTable(await call(`jobs/${id}/jobmanager/config`))];
  document.title = `${job.name} – Flott`;
  return [h('div', { class: 'title' }, h('h1', {}, job.name), badge(job.state), h('code', { class: 'quiet' }, job.id),
    !over && h('button', { class: 'danger push', 'data-act': 'cancel', 'data-to': job.id, 'data-name': job.name, disabled: !tokens.change || !overview.features['web-cancel'], title: tokens.change ? '' : 'This needs the token for changes: open the address that flott web prints' }, 'Cancel job')),
  facts([['began', time(job.start)], ['runs', span(job.duration)], ['slots', job.slots], ['checkpoints', job.checkpoints], ['restarts', job.restarts]]),
  job.failure && h('section', { class: 'card' }, h('b', {}, 'Last failure: '), job.failure),
  job.diagnosis.length > 0 && h('ul', { class: 'findings', 'aria-label': 'Diagnosis' }, job.diagnosis.map((f) => h('li', { class: f.warning && 'warning' }, f.warning ? '⚠ ' : '✓ ', f.text))),
  h('nav', { 'aria-label': 'Job' }, tabs.map(([to, name]) => h('a', { href: `#/job/${id}/${to}`, 'aria-current': tab === to && 'page' }, name))), ...content];
}

const gauge = (used, all, text) => [all ? [shares({ busy: 1000 * used / all, backPressured: 0, idle: 1000 - 1000 * used / all }, 100, 10), ' '] : '', text];
async function taskManagersView() {
  const { taskmanagers: all } = await call('taskmanagers');
  const metrics = await Promise.all(all.slice(0, 50).map((t) => call(`taskmanagers/${t.id}/metrics?get=Status.JVM.Memory.Heap.Used,Status.JVM.CPU.Load`)));
  const figure = (k, id) => Number((metrics[k] || []).find((m) => m.id === id)?.value || 0);
  return [h('h1', {}, 'TaskManagers'), h('section', { class: 'card' }, table(['Address', 'Slots in use', 'Memory', '#Processors in use', 'Last sign of life', 'Id'], all.map((t, k) => {
    const used = figure(k, 'Status.JVM.Memory.Heap.Used'), limit = t.memoryConfiguration.totalProcessMemory;
    return row([link('taskmanager/' + t.id, t.path), gauge(t.slotsNumber - t.freeSlots, t.slotsNumber, `${t.slotsNumber - t.freeSlots} of ${t.slotsNumber}`), gauge(used, limit, `${bytes(used)} of ${bytes(limit)}`), n(`${round(figure(k, 'Status.JVM.CPU.Load') * t.hardware.cpuCores)} of ${t.hardware.cpuCores}`), time(t.timeSinceLastHeartbeat), h('code', {}, t.id)]);
  }), 'None has registered: start one with flott taskmanager.'))];
}
async function logsOf(path, name, to) {
  const { logs } = await call(path + '/logs');
  const shown = name || (logs[0] && logs[0].name);
  const text = shown ? await call(`${path}/logs/${encodeURIComponent(shown)}`) : '';
  return [h('section', { class: 'card' }, table(['File', '#Size', 'Written'], logs.map((f) => row([link(`${to}/${encodeURIComponent(f.name)}`, f.name), n(bytes(f.size)), time(f.mtime)], { class: f.name === shown && 'chosen' })), 'No logs.')),
    shown && h('section', { class: 'card' }, h('h2', {}, shown), h('pre', { tabindex: 0, 'aria-label': 'The end of ' + shown }, text || '(empty)'))];
}
async function taskManagerView({ id, part }) {
  const t = await call('taskmanagers/' + id);
  const jobs = new Map();
  t.allocatedSlots.forEach((slot) => jobs.set(slot.jobId, (jobs.get(slot.jobId) || 0) + 1));
  const names = new Map(overview.jobs.map((job) => [job.jid, job.name]));
  return [h('h1', {}, 'TaskManager ' + t.path), facts([['slots free', `${t.freeSlots} of ${t.slotsNumber}`], ['memory', `${bytes(t.metrics.heapUsed)} of ${bytes(t.metrics.heapMax)}`], ['managed', bytes(t.hardware.managedMemory)], ['machine', `${t.hardware.cpuCores} cores, ${bytes(t.hardware.physicalMemory)}, ${bytes(t.hardware.freeMemory)} free`], ['last sign of life', time(t.timeSinceLastHeartbeat)]]),
    h('section', { class: 'card' }, table(['Job', '#Slots'], [...jobs].map(([job, slots]) => row([link('job/' + job, names.get(job) || job), n(slots)])), 'No job has slots here.')),
    await logsOf('taskmanagers/' + id, part, `taskmanager/${id}/logs`).catch((error) => h('p', { class: 'quiet' }, error.message))];
}
const configurationView = async () => [h('h1', {}, 'Configuration'), configTable(await call('jobmanager/config'))];
const logsView = async ({ tab }) => [h('h1', {}, 'Logs of the JobManager'), await logsOf('jobmanager', tab, 'logs/file')];
async function programsView() {
  const { files } = await call('jars');
  const may = tokens.change && overview.features['web-submit'];
  return [h('h1', {}, 'Programs'), !may && h('p', { class: 'quiet' }, overview.features['web-submit'] ? 'To upload and run programs, open the address that flott web prints.' : 'web.submit.enable is false.'),
    may && h('section', { class: 'card', 'data-keep': true, 'data-key': 'upload' }, h('label', { for: 'file' }, 'A program: an executable that depends on the flott crate'), h('input', { type: 'file', id: 'file' }), ' ', h('button', { 'data-act': 'upload' }, 'Upload'), h('p', { id: 'uploading', role: 'status' })),
    h('section', { class: 'card' }, table(['Program', 'Uploaded', ''], files.map((f) => row([f.name, time(f.uploaded), may ? [link('run/' + f.id, 'Run'), ' ', h('button', { class: 'plain', 'data-act': 'delete', 'data-to': f.id, 'data-name': f.name }, 'Delete')] : ''])), 'None was uploaded.'))];
}
const runView = ({ id }) => [h('h1', {}, 'Run ' + id.slice(9)), h('section', { class: 'card', 'data-keep': true, 'data-key': 'run ' + id },
  h('label', { for: 'arguments' }, 'Arguments'), h('input', { type: 'text', id: 'arguments', autocomplete: 'off' }),
  h('label', { for: 'parallelism' }, 'Parallelism (empty: as configured)'), h('input', { type: 'number', id: 'parallelism', min: 1, max: 32768 }),
  h('label', { for: 'checkpoint' }, 'Go on from this checkpoint (empty: from nothing)'), h('input', { type: 'text', id: 'checkpoint', autocomplete: 'off' }),
  h('p', {}, h('button', { 'data-act': 'run', 'data-to': id }, 'Run')))];
const accessView = (error) => [h('h1', {}, 'This needs a token'), h('section', { class: 'card', 'data-keep': true, 'data-key': 'access' }, h('p', {}, error.message), h('label', { for: 'address' }, 'The address that flott web prints, or what follows its #'), h('input', { type: 'password', id: 'address', autocomplete: 'off' }), ' ', h('button', { 'data-act': 'token' }, 'Open'))];

const views = { jobs: jobsView, job: jobView, taskmanagers: taskManagersView, taskmanager: taskManagerView, configuration: configurationView, logs: logsView, programs: programsView, run: runView };
// #/logs/file/NAME and #/taskmanager/ID/logs/NAME name a file.
function place() {
  const at = route();
  return at.view === 'logs' ? { ...at, tab: at.id === 'file' ? at.tab : undefined } : at;
}
function notice(text) {
  const line = document.getElementById('notice');
  line.hidden = !text;
  if (line.textContent !== text) line.textContent = text;
}
async function refresh() {
  clearTimeout(timer);
  const mine = (generation += 1);
  try {
    overview = await call('flott/overview');
    document.title = 'Flott';
    const content = await (views[place().view] || jobsView)(place());
    if (mine !== generation) return;
    header();
    fill('main', content);
    notice('');
  } catch (error) {
    if (mine !== generation) return;
    header();
    if (error.status === 401) fill('main', accessView(error));
    else notice(error.status ? error.message : 'The JobManager does not answer; trying again.');
  }
  if (!paused && !document.hidden) timer = setTimeout(refresh, (overview && overview.refresh) || 3000);
}
function ask(title, text) {
  const dialog = document.getElementById('ask');
  document.getElementById('ask-title').textContent = title;
  document.getElementById('ask-text').textContent = text;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener('close', () => answer(dialog.returnValue === 'yes'), { once: true }));
}
const PIECE = 1 << 20;
const base64 = (blob) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.slice(reader.result.indexOf(',') + 1));
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(blob);
});
async function upload() {
  const file = document.getElementById('file').files[0], line = document.getElementById('uploading');
  if (!file) { line.textContent = 'Choose a file first.'; return; }
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  for (let offset = 0; offset < Math.max(1, file.size); offset += PIECE) {
    const data = file.size ? await base64(file.slice(offset, offset + PIECE)) : '';
    await change('jars/upload', { upload: id, name: file.name, offset, data, last: offset + PIECE >= file.size });
    line.textContent = `${bytes(Math.min(offset + PIECE, file.size))} of ${bytes(file.size)}`;
  }
  line.textContent = `${file.name} is there.`;
}
const value = (id) => document.getElementById(id).value.trim();
const acts = {
  pause: async () => { paused = !paused; },
  vertex: async ({ to }) => { const at = route(); location.hash = `#/job/${at.id}/graph/${at.part === to ? '' : to}`; },
  cancel: async ({ to, name }) => { if (await ask('Cancel this job?', `${name} stops. What it has not committed is not written.`)) await change(`jobs/${to}/cancel`, {}); },
  delete: async ({ to, name }) => { if (await ask('Delete this program?', `${name} can be uploaded again. Jobs that run are not touched.`)) await change(`jars/${to}/delete`, {}); },
  upload,
  run: async ({ to }) => {
    const parallelism = Number(value('parallelism'));
    notice('The program is planning …');
    const { jobid } = await change(`jars/${to}/run`, { programArgs: value('arguments'), savepointPath: value('checkpoint'), ...(parallelism > 0 && { parallelism }) });
    location.hash = '#/job/' + jobid;
  },
  token: async () => { const text = value('address'); if (!takeTokens(text.includes('=') ? text : 'read=' + text)) throw new Error('that is no address with a token'); document.getElementById('address').value = ''; },
};
async function act(target) {
  const { act: name, ...data } = target.dataset;
  try {
    await acts[name](data);
    await refresh();
  } catch (error) { notice(error.message); }
}
document.addEventListener('click', (event) => {
  const target = event.target.closest('[data-act]');
  if (target && !target.disabled) act(target);
});
document.addEventListener('keydown', (event) => {
  const target = event.target.closest('g[data-act]');
  if (target && (event.key === 'Enter' || event.key === ' ')) { event.preventDefault(); act(target); }
});
window.addEventListener('hashchange', () => {
  openFragment();
  refresh();
});
document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused) refresh(); });
refresh();
