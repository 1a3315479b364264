// Bundles the page, shows each dashboard to headless Chromium, takes its picture, counts the series
// that each panel drew, and fails on a panel without data or a console error.
//
//   node render.mjs '{"prometheus": URL, "from": S, "to": S, "step": S, "values": {…}, "out": FOLDER}'
import {build} from 'esbuild';
import {chromium} from 'playwright-core';
import {createServer} from 'node:http';
import {existsSync, mkdirSync, readFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const given = JSON.parse(process.argv[2]);
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (!executablePath) {
  console.error("no Chromium here: install Debian's package chromium");
  process.exit(1);
}

const bundle = join(here, 'node_modules', '.bundle', 'app.js');
await build({
  absWorkingDir: here, entryPoints: ['app.jsx'], outfile: bundle, bundle: true, logLevel: 'error', minify: true,
  alias: {'react-router-dom-v5-compat': 'react-router-dom', 'react-custom-scrollbars-2': './scrollbars.cjs'},
  loader: {'.js': 'jsx', '.svg': 'text', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'dataurl', '.png': 'dataurl'},
  define: {'process.env.NODE_ENV': '"production"', global: 'window'},
});

const page = (words) => `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<link rel="stylesheet" href="/app.css"><body style="margin:0"><div id="root"></div>
<script>window.given = ${JSON.stringify(words).replaceAll('<', '\\u003c')}</script><script src="/app.js"></script>`;
let shown = '';
const server = createServer((request, response) => {
  const file = {'/app.js': [bundle, 'text/javascript'], '/app.css': [bundle.replace('.js', '.css'), 'text/css']}[request.url];
  response.setHeader('Content-Type', file ? file[1] : 'text/html');
  response.end(file ? readFileSync(file[0]) : shown);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const address = `http://127.0.0.1:${server.address().port}/`;

mkdirSync(given.out, {recursive: true});
const browser = await chromium.launch({executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking']});
let faults = 0;
for (const {name, values, mode} of given.boards) {
  const board = JSON.parse(readFileSync(join(here, '..', 'dashboards', `${name}.json`), 'utf8'));
  const height = 38 * Math.max(...board.panels.map(({gridPos: {y, h}}) => y + h));
  const tab = await browser.newPage({viewport: {width: 1440, height}});
  const said = [];
  tab.on('console', (message) => { if (message.type() === 'error') said.push(message.text()); });
  tab.on('pageerror', (error) => said.push(String(error)));
  shown = page({...given, boards: undefined, board, values: {...given.values, ...values}, mode});
  await tab.goto(address);
  await tab.waitForFunction(() => ['drawn', 'failed'].includes(document.title), null, {timeout: 60000});
  const failed = await tab.evaluate(() => window.failed);
  const drawn = await tab.evaluate(() => window.drawn);
  const picture = join(given.out, `${name}.png`);
  await tab.screenshot({path: picture, clip: {x: 0, y: 0, width: 1440, height}});
  console.log(`${name}: ${Object.keys(drawn).length} panels -> ${picture}`);
  for (const [title, {series, fault, none}] of Object.entries(drawn)) {
    console.log(`  ${String(series).padStart(3)} ${title}${none ? ` (shows "${none}")` : ''}${fault ? `: ${fault}` : ''}`);
    faults += fault ? 1 : 0;
  }
  for (const line of failed ? [failed, ...said] : said) console.log(`  console: ${line}`);
  faults += said.length + (failed ? 1 : 0);
  await tab.close();
}
await browser.close();
server.close();
console.log(faults ? `${faults} faults` : 'every panel has drawn something, and the console is silent');
process.exit(faults ? 1 : 0);
