// Draws one dashboard with Grafana's own components, fed with what Prometheus answers.
//
// Time series, figures, bars and tables are drawn by @grafana/ui; reducing, units, thresholds, value
// mappings and overrides are @grafana/data's. Grafana's timeline of states is in no package: its
// rows are drawn here, with the texts and colors that Grafana's display processor gives. The page is
// given by render.mjs: the dashboard, its variables' values, the time that is shown, and Prometheus.
import React from 'react';
import {createRoot} from 'react-dom/client';
import * as D from '@grafana/data';
import * as UI from '@grafana/ui';
import 'uplot/dist/uPlot.min.css';

const {board, values, prometheus, from, to, step, mode} = window.given;
const theme = D.createTheme({colors: {mode}});
const WIDTH = 1440, COLUMN = WIDTH / 24, ROW = 38, GAP = 8, HEAD = 32, PAD = 8;
const range = {from: D.dateTime(from * 1000), to: D.dateTime(to * 1000)};
range.raw = {from: range.from, to: range.to};
const drawn = (window.drawn = {}); // by panel: how many series, and what it lacks

const fill = (text) =>
  text.replace(/\$(?:\{(\w+)[^}]*\}|(\w+))/g, (whole, a, b) => values[a ?? b] ?? whole);

// Every setting that a dashboard may override is passed on as it is.
function registry(panel) {
  const ids = new Set(['unit', 'min', 'max', 'decimals', 'color', 'mappings', 'thresholds', 'links', 'noValue']);
  for (const name of Object.keys(panel.fieldConfig.defaults.custom ?? {})) ids.add(`custom.${name}`);
  for (const each of panel.fieldConfig.overrides ?? [])
    for (const property of each.properties) ids.add(property.id);
  return new D.Registry(() =>
    [...ids].map((id) => {
      const isCustom = id.startsWith('custom.');
      return {id, path: isCustom ? id.slice(7) : id, name: id, isCustom, settings: {},
        process: (value) => value, shouldApply: () => true, override: () => null, editor: () => null};
    }));
}

async function ask(kind, words) {
  const answer = await fetch(`${prometheus}/api/v1/${kind}?${new URLSearchParams(words)}`);
  const told = await answer.json();
  if (told.status !== 'success') throw new Error(`${words.query}: ${told.error}`);
  return told.data.result;
}

const named = (format, labels) =>
  format === '__auto'
    ? Object.entries(labels).filter(([k]) => k !== '__name__').map(([, v]) => v).join(' ') || 'value'
    : format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '').trim();

async function frames(panel) {
  const found = [];
  for (const target of panel.targets) {
    const query = fill(target.expr);
    if (target.instant) {
      const result = await ask('query', {query, time: to});
      const labels = [...new Set(result.flatMap((each) => Object.keys(each.metric)))];
      const value = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
      if (result.length)
        found.push(D.toDataFrame({refId: target.refId, fields: [
          {name: 'Time', type: D.FieldType.time, values: result.map(() => to * 1000)},
          ...labels.map((name) => ({name, type: D.FieldType.string, values: result.map((each) => each.metric[name])})),
          {name: value, type: D.FieldType.number, values: result.map((each) => Number(each.value[1]))},
        ]}));
      continue;
    }
    for (const each of await ask('query_range', {query, start: from, end: to, step})) {
      const name = named(target.legendFormat, each.metric);
      const at = new Map(each.values.map(([time, value]) => [time, Number(value)]));
      const times = [];
      for (let time = from; time <= to; time += step) times.push(time);
      found.push(D.toDataFrame({name, refId: target.refId, fields: [
        {name: 'Time', type: D.FieldType.time, values: times.map((time) => time * 1000)},
        {name: 'Value', type: D.FieldType.number, labels: each.metric,
          config: {displayNameFromDS: name}, values: times.map((time) => at.get(time) ?? null)},
      ]}));
    }
  }
  let data = found;
  if (panel.transformations?.length && data.length)
    data = await new Promise((done, fail) =>
      D.transformDataFrame(panel.transformations, found).subscribe({next: done, error: fail}));
  return D.applyFieldOverrides({data, fieldConfig: panel.fieldConfig, replaceVariables: fill, theme,
    timeZone: 'utc', fieldConfigRegistry: registry(panel)});
}

function Marks({config, marks}) {
  React.useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const {ctx, bbox} = plot;
      ctx.save();
      ctx.setLineDash([4, 4]);
      for (const {at, color} of marks) {
        const x = plot.valToPos(at * 1000, 'x', true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillRect(x - 4, bbox.top + bbox.height - 5, 8, 5);
      }
      ctx.restore();
    });
  }, [config]);
  return null;
}

function Timeline({data, width, height}) {
  const left = 120, bottom = 20, wide = width - left, high = (height - bottom) / data.length;
  const x = (time) => ((time / 1000 - from) / (to - from)) * wide;
  return (
    <svg width={width} height={height} style={{font: '12px sans-serif'}}>
      {data.map((frame, row) => {
        const [times, field] = frame.fields;
        const show = D.getDisplayProcessor({field, theme});
        const runs = [];
        field.values.forEach((value, i) => {
          const last = runs.at(-1);
          const end = times.values[i] + step * 1000;
          if (last && last.value === value) last.end = end;
          else runs.push({value, start: times.values[i], end});
        });
        return (
          <g key={row} transform={`translate(0 ${row * high})`}>
            <text x={left - 8} y={high / 2 + 4} textAnchor="end" fill={theme.colors.text.primary}>
              {D.getFieldDisplayName(field, frame, data).slice(0, 18)}
            </text>
            {runs.filter((each) => each.value !== null).map((each, i) => {
              const shown = show(each.value), begin = left + x(each.start);
              const size = Math.max(1, x(each.end) - x(each.start));
              return (
                <g key={i}>
                  <rect x={begin} y={high * 0.1} width={size} height={high * 0.8} fill={shown.color} fillOpacity={0.75} />
                  {size > 8 * shown.text.length && (
                    <text x={begin + 5} y={high / 2 + 4} fill={theme.colors.getContrastText(shown.color)}>{shown.text}</text>
                  )}
                </g>
              );
            })}
          </g>
        );
      })}
      {[0, 0.25, 0.5, 0.75, 1].map((part) => (
        <text key={part} x={left + part * wide} y={height - 4} fill={theme.colors.text.secondary}
          textAnchor={part === 1 ? 'end' : part === 0 ? 'start' : 'middle'}>
          {D.dateTimeFormat((from + part * (to - from)) * 1000, {format: 'HH:mm:ss', timeZone: 'utc'})}
        </text>
      ))}
    </svg>
  );
}

function Body({panel, data, marks, width, height}) {
  const {options} = panel;
  if (panel.type === 'timeseries')
    return (
      <UI.TimeSeries width={width} height={height} frames={data} timeRange={range} timeZone="utc"
        legend={{...options.legend, calcs: []}} options={options}>
        {(config) => <Marks config={config} marks={marks} />}
      </UI.TimeSeries>
    );
  if (panel.type === 'table')
    return <UI.Table width={width} height={height} data={data[0]} cellHeight={options.cellHeight}
      initialSortBy={options.sortBy} />;
  if (panel.type === 'state-timeline') return <Timeline data={data} width={width} height={height} />;
  const shown = D.getFieldDisplayValues({fieldConfig: panel.fieldConfig, reduceOptions: options.reduceOptions,
    replaceVariables: fill, theme, data, sparkline: options.graphMode === 'area', timeZone: 'utc'});
  const upright = panel.type === 'stat';
  const one = upright ? {width: width / shown.length, height} : {width, height: Math.min(36, height / shown.length)};
  return (
    <div style={{display: 'flex', flexDirection: upright ? 'row' : 'column', gap: upright ? 0 : 2}}>
      {shown.map((each, i) =>
        upright ? (
          <UI.BigValue key={i} {...one} theme={theme} value={each.display} count={shown.length}
            sparkline={each.sparkline} colorMode={options.colorMode} graphMode={options.graphMode}
            textMode={options.textMode} justifyMode={options.justifyMode} />
        ) : (
          <UI.BarGauge key={i} {...one} theme={theme} value={each.display} field={each.field} display={each.view.getFieldDisplayProcessor(each.colIndex)}
            orientation={options.orientation} displayMode={options.displayMode} showUnfilled={options.showUnfilled} itemSpacing={4} text={options.text} />
        ))}
    </div>
  );
}

const nameOf = ({id, title}) => `${id} ${title}`;

class Caught extends React.Component {
  state = {};
  static getDerivedStateFromError = (error) => ({error});
  componentDidCatch(error) { drawn[this.props.name] = {series: 0, fault: String(error?.message ?? error)}; }
  render() { return this.state.error ? <b>{String(this.state.error)}</b> : this.props.children; }
}

function Panel({panel, data, marks}) {
  const {x, y, w, h} = panel.gridPos;
  const place = {position: 'absolute', left: x * COLUMN + GAP / 2, top: y * ROW, width: w * COLUMN - GAP, height: h * ROW - GAP};
  if (panel.type === 'row')
    return <div style={{...place, color: theme.colors.text.primary, font: '500 16px Inter, sans-serif', lineHeight: '30px'}}>⌄ {panel.title}</div>;
  const none = panel.fieldConfig.defaults.noValue;
  const width = w * COLUMN - GAP - 2 * PAD - 2, height = h * ROW - GAP - HEAD - PAD;
  return (
    <div style={{...place, background: theme.colors.background.primary, border: `1px solid ${theme.colors.border.weak}`, borderRadius: 2, overflow: 'hidden', boxSizing: 'border-box'}}>
      <div style={{height: HEAD, lineHeight: `${HEAD}px`, padding: `0 ${PAD}px`, color: theme.colors.text.primary, font: '500 14px Inter, sans-serif', paddingTop: 7, boxSizing: 'border-box'}}>{panel.title}</div>
      <div style={{padding: `0 ${PAD}px`}}>
        <Caught name={nameOf(panel)}>
          {data.length ? <Body panel={panel} data={data} marks={marks} width={width} height={height} /> : none ? <div style={{color: theme.colors.text.secondary, textAlign: 'center', fontSize: 18}}>{none}</div> : <b style={{color: 'red'}}>No data</b>}
        </Caught>
      </div>
    </div>
  );
}

function count(panel, data) {
  const series = panel.type === 'table' ? (data[0]?.length ?? 0)
    : data.filter((frame) => frame.fields[1].values.some((value) => Number.isFinite(value))).length;
  const none = panel.fieldConfig.defaults.noValue;
  return {series, fault: series || none ? null : 'No data', none: series ? null : none};
}

async function main() {
  D.standardTransformersRegistry.setInit(() =>
    [...new Map(Object.values(D.standardTransformers).map((each) => [each.id, each])).values()].map((transformation) => ({id: transformation.id, name: transformation.name, transformation: async () => transformation, editor: () => null})));
  const marks = [];
  for (const each of board.annotations.list ?? [])
    for (const series of await ask('query_range', {query: fill(each.expr), start: from, end: to, step}))
      series.values.forEach(([time], i) => {
        if (i === 0 || time - series.values[i - 1][0] > step) marks.push({at: time, color: each.iconColor});
      });
  const found = await Promise.all(board.panels.map((panel) => (panel.type === 'row' ? [] : frames(panel))));
  board.panels.forEach((panel, i) => {
    if (panel.type !== 'row') drawn[nameOf(panel)] = count(panel, found[i]);
  });
  const height = Math.max(...board.panels.map(({gridPos: {y, h}}) => (y + h) * ROW));
  createRoot(document.getElementById('root')).render(
    <D.ThemeContext.Provider value={theme}>
      <UI.GlobalStyles />
      <div style={{position: 'relative', width: WIDTH, height, background: theme.colors.background.canvas}}>
        {board.panels.map((panel, i) => <Panel key={panel.id} panel={panel} data={found[i]} marks={marks} />)}
      </div>
    </D.ThemeContext.Provider>);
  setTimeout(() => { document.title = 'drawn'; }, 1500);
}

main().catch((error) => { window.failed = String(error?.stack ?? error); document.title = 'failed'; });
