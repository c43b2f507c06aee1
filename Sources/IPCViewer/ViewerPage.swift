/// The page of `ipc serve-ui`: plain HTML, CSS and SVG, in one piece.
enum ViewerPage {
    static let html = #"""
        <!doctype html>
        <html lang="en"><head><meta charset="utf-8"><title>ipc</title>
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <style>
        :root { color-scheme: light dark; --line: light-dark(#0a6, #3d9); --soft: light-dark(#ddd, #444); }
        body { font: 15px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
        th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--soft); }
        td.number, th.number { text-align: right; white-space: nowrap; }
        td.value { max-width: 24rem; overflow-wrap: anywhere; }
        #rows tr { cursor: pointer; } #rows tr:hover { background: var(--soft); }
        th button, td button { font: inherit; color: inherit; background: none; cursor: pointer; padding: 0; }
        th button, td button { border: 0; border-bottom: 1px dotted; }
        button[aria-pressed=true]::after { content: ' ●'; }
        .dead { color: light-dark(#b00, #f77); } pre, .wide { overflow-x: auto; }
        svg.spark { width: 8rem; height: 1.6rem; } polyline, path { fill: none; stroke: var(--line); stroke-width: 1.5; }
        path { vector-effect: non-scaling-stroke; stroke-linecap: round; stroke-linejoin: round; }
        figure { margin: 1rem 0; } #plot { width: 100%; height: 10rem; border: solid var(--soft); border-width: 1px 0; }
        </style></head><body>
        <h1>Channels</h1><p id="summary">…</p>
        <p><label>Filter <input id="filter" autocomplete="off"></label></p>
        <div class="wide"><table><thead><tr><th>name<th>pattern<th>type<th class="number">messages/s<th>last minute
        <th class="number">published<th class="number">behind<th>processes</tr></thead><tbody id="rows"></tbody></table></div>
        <section id="peek" hidden><h2 id="peeked"></h2>
        <p>The newest messages. Participants are not affected. <button id="close">Close</button></p><p id="note" hidden></p>
        <p id="choice" hidden><label>Line of <select id="field"></select></label></p>
        <figure id="chart" hidden><svg id="plot" viewBox="0 0 300 100" preserveAspectRatio="none" role="img"><path id="line"/></svg>
        <figcaption id="figures"></figcaption></figure>
        <div class="wide" id="table" role="region" aria-labelledby="peeked" tabindex="0" hidden>
        <table><thead><tr id="columns"></tr></thead><tbody id="values"></tbody></table></div>
        <pre id="messages"></pre></section>
        <script>
        const at = id => document.getElementById(id);
        // What changes the direction of text, or is not shown, is shown as an escape.
        const clean = value => String(value).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
          c => ({ '\n': '\\n', '\r': '\\r', '\t': '\\t' })[c] ?? '\\u{' + c.charCodeAt(0).toString(16) + '}');
        // As text, whatever it looks like: nothing that comes from a channel becomes HTML.
        const text = (tag, value, kind = '') => {
          const cell = document.createElement(tag); cell.textContent = clean(value); if (kind) cell.className = kind; return cell;
        };
        const short = n => n >= 1e6 ? (n / 1e6).toFixed(1) + ' M' : n >= 1e3 ? (n / 1e3).toFixed(1) + ' k' : Math.round(n);
        const svg = name => document.createElementNS('http://www.w3.org/2000/svg', name);
        const most = 300;

        // The channels: name to what its row shows.
        const shown = new Map();
        // The channel that is looked at, its columns, and the one that is drawn.
        let opened = null, columns = [], field = -1, wanted = null, line = { channel: null, last: -1, values: [] };

        function spark(values) {
          const chart = svg('svg'), points = svg('polyline'), top = Math.max(1, ...values);
          chart.setAttribute('viewBox', '0 0 60 16'); chart.setAttribute('preserveAspectRatio', 'none');
          chart.setAttribute('class', 'spark');
          points.setAttribute('points', values.map((v, i) => (60 - values.length + i) + ',' + (15 - 14 * v / top)).join(' '));
          chart.append(points); return chart;
        }
        function newRow(name) {
          const row = document.createElement('tr'), button = text('button', name);
          row.dataset.name = name; row.onclick = () => open(name);
          return { row, button, rates: [] };
        }
        // Without moving the focus: an element that is taken out and put back loses it.
        function put(parent, children) {
          if (children.length === parent.children.length && children.every((child, i) => parent.children[i] === child)) return;
          const focus = document.activeElement; parent.replaceChildren(...children);
          if (focus?.isConnected && focus !== document.activeElement) focus.focus({ preventScroll: true });
        }
        async function look() {
          let channels;
          try { channels = await (await fetch('channels')).json(); }
          catch (error) { at('summary').textContent = 'ipc serve-ui has ended.'; return; }
          const filter = at('filter').value, rows = [], names = new Set();
          let rate = 0;
          for (const channel of channels) {
            const known = shown.get(channel.name) ?? newRow(channel.name), { row, button, rates } = known;
            shown.set(channel.name, known); names.add(channel.name);
            rates.push(channel.rate); if (rates.length > 60) rates.shift();
            rate += channel.rate;
            if (!channel.name.includes(filter)) continue;
            if (!row.firstChild) { const cell = document.createElement('td'); cell.append(button); row.append(cell); }
            while (row.children.length > 1) row.lastChild.remove();
            row.append(text('td', channel.pattern), text('td', channel.type), text('td', short(channel.rate), 'number'));
            const chart = document.createElement('td'); chart.append(spark(rates)); row.append(chart);
            row.append(text('td', short(channel.published), 'number'), text('td', channel.behind ?? '', 'number'));
            const who = document.createElement('td');
            for (const p of channel.participants) {
              const words = p.role + ' ' + p.process + (p.alive ? '' : ' dead') + '  ';
              who.append(text('span', words, p.alive ? '' : 'dead'));
            }
            for (const line of channel.bridges ?? []) who.append(text('span', line + '  '));
            row.append(who); rows.push(row);
          }
          for (const name of shown.keys()) if (!names.has(name)) shown.delete(name);
          put(at('rows'), rows);
          at('summary').textContent = channels.length + ' channels, ' + short(rate) + ' messages/s';
        }

        // The address keeps what is looked at, for the next visit: #channel&field=name.
        function keep() {
          const more = wanted === null ? '' : '&field=' + encodeURIComponent(wanted);
          const hash = opened === null ? '' : '#' + encodeURIComponent(opened) + more;
          history.replaceState(null, '', location.pathname + hash);
        }
        function open(name) {
          opened = name; columns = []; wanted = null; choose(-1);
          for (const id of ['note', 'choice', 'table']) at(id).hidden = true;
          at('messages').textContent = '';
        }
        function choose(index) {
          field = index; line = { channel: null, last: -1, values: [] };
          wanted = columns[index]?.name ?? null;
          keep(); mark(); peek();
        }
        function mark() {
          at('field').value = field; at('chart').hidden = field < 0;
          for (const button of at('columns').querySelectorAll('button')) {
            button.setAttribute('aria-pressed', Number(button.value) === field);
          }
        }
        // Only the newest answer counts, and only while the page is seen is one asked for.
        let turns = 0;
        async function peek() {
          const turn = ++turns, drawn = field;
          at('peek').hidden = opened === null;
          if (opened === null || document.hidden) return;
          at('peeked').textContent = clean(opened);
          let answer;
          try {
            const more = drawn < 0 ? '' : '&field=' + drawn;
            const response = await fetch('messages?name=' + encodeURIComponent(opened) + more);
            answer = response.ok ? await response.json() : [];
          } catch (error) { return; }
          if (turn !== turns) return;
          const isTable = answer.columns !== undefined, messages = answer.messages ?? answer;
          at('note').hidden = answer.note === undefined; at('note').textContent = clean(answer.note ?? '');
          at('table').hidden = !isTable; at('messages').hidden = isTable;
          if (isTable) return show(answer, drawn);
          at('choice').hidden = at('chart').hidden = true;
          at('messages').textContent = messages.map(m => m.sequence + '  ' + (m.text ?? '0x' + m.hex)).join('\n') || '(none)';
        }
        function show(answer, drawn) {
          at('values').replaceChildren(...answer.rows.map(message => {
            const row = document.createElement('tr'); row.append(text('td', message.sequence, 'number'));
            if (message.error !== undefined) {
              const cell = text('td', 'error: ' + message.error, 'dead'); cell.colSpan = answer.columns.length; row.append(cell);
            } else {
              const kind = i => answer.columns[i].number ? 'number' : 'value';
              message.cells.forEach((value, i) => row.append(text('td', value ?? '', kind(i))));
            }
            return row;
          }));
          if (JSON.stringify(answer.columns) !== JSON.stringify(columns)) {
            columns = answer.columns; heads();
            const index = columns.findIndex(column => column.number && column.name === wanted);
            // The values that came are of another column.
            if (index !== drawn) { if (index >= 0) return choose(index); field = -1; }
          }
          at('choice').hidden = !columns.some(column => column.number); mark();
          if (field >= 0) draw(answer.values);
        }
        function heads() {
          const number = text('th', 'sequence', 'number'), none = text('option', 'none'); none.value = -1;
          const options = [none];
          put(at('columns'), [number, ...columns.map((column, i) => {
            if (!column.number) return text('th', column.name);
            const head = text('th', '', 'number'), button = text('button', column.name), option = text('option', column.name);
            button.value = option.value = i; button.title = 'Draw it as a line';
            button.onclick = () => choose(field === i ? -1 : i);
            head.append(button); options.push(option); return head;
          })]);
          at('field').replaceChildren(...options);
        }
        function draw(values) {
          for (const [place, value] of values) {
            const [channel, offset] = place.split(':');
            if (channel !== line.channel) line = { channel, last: -1, values: [] };
            if (Number(offset) > line.last) { line.last = Number(offset); line.values.push(value); }
          }
          line.values.splice(0, Math.max(0, line.values.length - most));
          const numbers = line.values.map(value => value === null ? NaN : Number(value));
          const known = numbers.filter(Number.isFinite), low = Math.min(...known), high = Math.max(...known);
          const exact = number => line.values[numbers.indexOf(number)];
          // In halves, so that the difference of the largest numbers is one as well.
          const height = number => low === high ? 50 : 98 - 96 * ((number / 2 - low / 2) / (high / 2 - low / 2));
          let path = '', isGap = true;
          numbers.forEach((number, i) => {
            if (!Number.isFinite(number)) { isGap = true; return; }
            path += (isGap ? 'M' : 'L') + (most - numbers.length + i) + ' ' + height(number).toFixed(2) + (isGap ? 'h0' : '');
            isGap = false;
          });
          at('line').setAttribute('d', path);
          const newest = 'newest ' + (line.values.at(-1) ?? 'none');
          const range = known.length === 0 ? '' : ', minimum ' + exact(low) + ', maximum ' + exact(high);
          const figures = columns[field].name + ': ' + newest + range + '; messages: ' + numbers.length;
          at('figures').textContent = clean(figures); at('plot').setAttribute('aria-label', clean(figures));
        }

        at('close').onclick = () => { const button = shown.get(opened)?.button; open(null); button?.focus(); };
        at('field').onchange = () => choose(Number(at('field').value));
        if (location.hash) {
          const [name, ...rest] = location.hash.slice(1).split('&');
          opened = decodeURIComponent(name);
          for (const word of rest) if (word.startsWith('field=')) wanted = decodeURIComponent(word.slice(6));
        }
        const every = async (work, pause) => { for (;;) { await work(); await new Promise(done => setTimeout(done, pause())); } };
        every(look, () => 1000); every(peek, () => field < 0 ? 1000 : 250);
        </script></body></html>
        """#
}
