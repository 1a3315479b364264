// Checks the dashboards' files against Grafana's own types: `tsc --strict` over each file as a
// literal of the type Dashboard, and over the options, the settings of fields and the queries of its
// panels, which that type leaves open, as literals of the types of their kinds.
import {execFileSync} from 'node:child_process';
import {mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, '..', 'dashboards');
const out = join(here, 'node_modules', '.schema');

const kinds = {
  timeseries: ['timeseries', 'TimeSeries', true],
  stat: ['stat', 'Stat', false],
  bargauge: ['bargauge', 'BarGauge', false],
  table: ['table', 'Table', true],
  'state-timeline': ['statetimeline', 'StateTimeline', true],
};

// The files hold texts where the types have enumerations; ${E} is the texts of an enumeration.
const head = `
import type {AnnotationQuery, Dashboard, DataQuery} from '@grafana/schema';
${Object.values(kinds)
  .map(([path, name]) => `import type * as ${path} from '@grafana/schema/dist/esm/raw/composable/${path}/panelcfg/x/${name}PanelCfg_types.gen';`)
  .join('\n')}
type Plain<T> = T extends string ? \`\${T}\` : T extends (infer E)[] ? Plain<E>[]
  : T extends (...words: never[]) => unknown ? T
  : T extends object ? {[K in keyof T]: Plain<T[K]>} : T;
// What Prometheus' data source adds to a query and to an annotation is in no package of types.
type Query = Plain<DataQuery> & {expr: string; legendFormat: string; instant?: boolean;
  range?: boolean; format?: 'table' | 'time_series' | 'heatmap'};
type Mark = Plain<AnnotationQuery> & {expr: string; titleFormat: string; textFormat: string;
  step: string};
`;

function literals(name, board) {
  const lines = [head, 
    `export const board: Plain<Dashboard> = ${JSON.stringify({...board, annotations: {}}, null, 1)};`,
    `export const marks: Mark[] = ${JSON.stringify(board.annotations.list ?? [], null, 1)};`];
  for (const panel of board.panels.filter((each) => each.type !== 'row')) {
    const kind = kinds[panel.type];
    if (!kind) throw new Error(`${name}: ${panel.title} is of a kind that is not checked: ${panel.type}`);
    const [path, , custom] = kind;
    const say = (what, type, value) =>
      lines.push(`export const ${what}${panel.id}: Plain<${type}> = ${JSON.stringify(value, null, 1)};`);
    say('options', `Partial<${path}.Options>`, panel.options ?? {});
    if (custom) say('custom', `Partial<${path}.FieldConfig>`, panel.fieldConfig.defaults.custom ?? {});
    lines.push(`export const targets${panel.id}: Query[] = ${JSON.stringify(panel.targets, null, 1)};`);
  }
  return lines.join('\n') + '\n';
}

rmSync(out, {recursive: true, force: true});
mkdirSync(out, {recursive: true});
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
for (const name of names) {
  const board = JSON.parse(readFileSync(join(folder, name), 'utf8'));
  writeFileSync(join(out, name.replace('.json', '.ts')), literals(name, board));
}
// A literal that must not pass: a check that cannot fail would say nothing.
writeFileSync(join(out, 'wrong.ts'), `${head}
// @ts-expect-error
export const colour: Plain<Partial<timeseries.FieldConfig>> = {drawStyle: 'crayon'};
// @ts-expect-error
export const mode: Plain<Dashboard> = {schemaVersion: 41, graphTooltip: 7};
// @ts-expect-error
export const query: Query = {refId: 'A', expression: 'up', legendFormat: ''};
`);
writeFileSync(join(out, 'tsconfig.json'), JSON.stringify({
  compilerOptions: {strict: true, noEmit: true, module: 'esnext', moduleResolution: 'bundler',
    target: 'es2022', skipLibCheck: true, types: []},
  include: ['*.ts'],
}));
try {
  execFileSync(join(here, 'node_modules', '.bin', 'tsc'), ['-p', out], {stdio: 'inherit'});
} catch {
  process.exit(1);
}
console.log(`${names.length} dashboards have the types of @grafana/schema`);
