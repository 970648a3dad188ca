// Metrics of every kind by prom-client, as text and as OpenMetrics with exemplars, and the same values as JSON to compare with.
'use strict';

const http = require('http');
const { Counter, Gauge, Histogram, Registry, Summary } = require('prom-client');

// What the registry of a format holds. Only OpenMetrics has exemplars.
function fill(registry, enableExemplars) {
  const registers = [registry];
  const sold = new Counter({
    name: 'sold_total', help: 'Sold "things" \\ all.\nYes.', labelNames: ['what'], registers, enableExemplars,
  });
  const seconds = new Histogram({
    name: 'answer_seconds', help: 'Long.', labelNames: ['path'], buckets: [0.1, 1], registers, enableExemplars,
  });
  const count = (labels, value, exemplarLabels) =>
    enableExemplars ? sold.inc({ labels, value, exemplarLabels }) : sold.inc(labels, value);
  const observe = (labels, value, exemplarLabels) =>
    enableExemplars ? seconds.observe({ labels, value, exemplarLabels }) : seconds.observe(labels, value);
  count({ what: 'book' }, 3, { trace_id: 'abc', span_id: '7' });
  count({ what: 'a "pen"\n\\ für ✎' }, 0.1, {});
  observe({ path: '/' }, 0.5, { trace_id: 'def' });
  observe({ path: '/' }, 7, { trace_id: 'ghi' });
  const heat = new Gauge({ name: 'heat', help: 'Warm.', labelNames: ['room'], registers });
  const heats = { a: 21.5, b: -1e-7, c: Infinity, d: NaN, e: 1e21 };
  Object.entries(heats).forEach(([room, value]) => heat.set({ room }, value));
  const sizes = new Summary({ name: 'size_bytes', help: 'Big.', percentiles: [0.5, 0.99], registers });
  [1, 2, 3, 4, 100].forEach((value) => sizes.observe(value));
  return registry;
}

const registries = {
  text: fill(new Registry(), false),
  openmetrics: fill(new Registry(Registry.OPENMETRICS_CONTENT_TYPE), true),
};

// JSON has no word for these.
const spelled = (_, value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value);

http.createServer(async (request, response) => {
  const [, format, json] = request.url.split('?')[0].split('/');
  const registry = registries[format];
  if (!registry) return response.end();
  const body = json ? JSON.stringify(await registry.getMetricsAsJSON(), spelled) : await registry.metrics();
  response.setHeader('Content-Type', json ? 'application/json' : registry.contentType);
  return response.end(body);
}).listen(Number(process.argv[2]), '127.0.0.1');
