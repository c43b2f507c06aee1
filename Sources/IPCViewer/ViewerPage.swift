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
        th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--soft); }
        td.number, th.number { text-align: right; }
        tbody tr { cursor: pointer; } tbody tr:hover { background: var(--soft); }
        .dead { color: light-dark(#b00, #f77); } pre { overflow-x: auto; } .wide { overflow-x: auto; }
        svg.spark { width: 8rem; height: 1.6rem; } polyline { fill: none; stroke: var(--line); stroke-width: 1.5; }
        </style></head><body>
        <h1>Channels</h1><p id="summary">…</p>
        <p><label>Filter <input id="filter" autocomplete="off"></label></p>
        <div class="wide"><table><thead><tr><th>name<th>pattern<th>type<th class="number">messages/s<th>last minute
        <th class="number">published<th class="number">behind<th>processes</tr></thead><tbody id="rows"></tbody></table></div>
        <section id="peek" hidden><h2 id="peeked"></h2><p>The newest messages. Participants are not affected.</p>
        <pre id="messages"></pre></section>
        <script>
        const history = new Map(); let opened = null;
        const text = (tag, value, kind) => { const cell = document.createElement(tag); cell.textContent = value; if (kind) cell.className = kind; return cell; };
        const short = n => n >= 1e6 ? (n / 1e6).toFixed(1) + ' M' : n >= 1e3 ? (n / 1e3).toFixed(1) + ' k' : Math.round(n);
        function spark(values) {
          const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
          svg.setAttribute('viewBox', '0 0 60 16'); svg.setAttribute('preserveAspectRatio', 'none'); svg.setAttribute('class', 'spark');
          const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
          const top = Math.max(1, ...values);
          line.setAttribute('points', values.map((v, i) => (60 - values.length + i) + ',' + (15 - 14 * v / top)).join(' '));
          svg.append(line); return svg;
        }
        async function look() {
          try {
            const channels = await (await fetch('channels')).json();
            const filter = document.getElementById('filter').value;
            const rows = [];
            let rate = 0;
            for (const channel of channels) {
              const seen = history.get(channel.name) ?? []; seen.push(channel.rate); if (seen.length > 60) seen.shift();
              history.set(channel.name, seen); rate += channel.rate;
              if (!channel.name.includes(filter)) continue;
              const row = document.createElement('tr');
              row.dataset.name = channel.name;
              row.append(text('td', channel.name), text('td', channel.pattern), text('td', channel.type), text('td', short(channel.rate), 'number'));
              const chart = document.createElement('td'); chart.append(spark(seen)); row.append(chart);
              row.append(text('td', short(channel.published), 'number'), text('td', channel.behind ?? '', 'number'));
              const who = document.createElement('td');
              for (const p of channel.participants) who.append(text('span', p.role + ' ' + p.process + (p.alive ? '' : ' dead') + '  ', p.alive ? '' : 'dead'));
              row.append(who); row.onclick = () => { opened = channel.name; peek(); }; rows.push(row);
            }
            document.getElementById('rows').replaceChildren(...rows);
            document.getElementById('summary').textContent = channels.length + ' channels, ' + short(rate) + ' messages/s';
            await peek();
          } catch (error) { document.getElementById('summary').textContent = 'ipc serve-ui has ended.'; }
        }
        async function peek() {
          const section = document.getElementById('peek'); section.hidden = opened === null;
          if (opened === null) return;
          document.getElementById('peeked').textContent = opened;
          const answer = await fetch('messages?name=' + encodeURIComponent(opened));
          const messages = answer.ok ? await answer.json() : [];
          document.getElementById('messages').textContent = messages.map(m => m.sequence + '  ' + (m.text ?? '0x' + m.hex)).join('\n') || '(none)';
        }
        if (location.hash) opened = decodeURIComponent(location.hash.slice(1));
        look(); setInterval(look, 1000);
        </script></body></html>
        """#
}
