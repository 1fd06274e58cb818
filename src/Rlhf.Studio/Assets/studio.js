// What the browser does by itself: colors, copying, and reading values off charts. Everything else is the server's.
(() => {
  'use strict';

  const themes = ['system', 'light', 'dark'];
  const actions = {
    theme() {
      const root = document.documentElement;
      const next = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
      root.dataset.theme = next;
      document.cookie = `rlhf-theme=${next}; path=/; max-age=31536000; samesite=strict`;
      announce(`Colors: ${next}`);
    },
  };

  document.addEventListener('click', event => {
    const button = event.target.closest('[data-action], [data-copy]');
    if (!button) return;
    if (button.dataset.action) actions[button.dataset.action]?.();
    else copy(button);
  });

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      const field = document.createElement('textarea');
      field.value = button.dataset.copy;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
    }
    announce('Copied');
  }

  let note, noteTimer;
  function announce(text) {
    if (!note) {
      note = document.createElement('div');
      note.className = 'note';
      note.setAttribute('role', 'status');
      document.body.append(note);
    }
    note.textContent = text;
    note.classList.add('shown');
    clearTimeout(noteTimer);
    noteTimer = setTimeout(() => note.classList.remove('shown'), 1600);
  }

  // Keys of a page's own buttons, wherever the focus is but in a field. A key that is held down counts once.
  document.addEventListener('keydown', event => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('.mud-dialog')
      || event.target.closest?.('input, textarea, select')) return;
    const key = event.key.toLowerCase();
    const button = [...document.querySelectorAll('button[data-keys]')].find(b => b.dataset.keys.split(' ').includes(key));
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  });

  // A message is sent by Enter; Shift makes a new line of it, and an input method's Enter ends a word.
  document.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || !event.target.matches?.('textarea[data-enter=submit]')) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  // A conversation that grows stays in sight, unless its reader has scrolled up.
  let follows = true, wasWriting = false;
  const toEnd = () => document.documentElement.scrollHeight - innerHeight - scrollY;
  document.addEventListener('scroll', () => { follows = toEnd() < 120; }, { passive: true });
  document.addEventListener('submit', event => { if (event.target.matches('.composer')) follows = true; }, true);
  new MutationObserver(() => {
    const isWriting = document.querySelector('.turns[data-writing=true]') !== null;
    if (follows && (isWriting || wasWriting) && toEnd() > 0) scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
    wasWriting = isWriting; // the scores come last
  }).observe(document.body, { childList: true, subtree: true, characterData: true });

  // Charts: a line at the pointer on every chart of the page, and the values beside it.
  let tip;
  const parsed = new WeakMap();
  function dataOf(plot) {
    const known = parsed.get(plot);
    if (known && known.text === plot.dataset.chart) return known.data;
    const data = JSON.parse(plot.dataset.chart);
    parsed.set(plot, { text: plot.dataset.chart, data });
    return data;
  }

  function nearest(x, value) {
    let low = 0, high = x.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] < value) low = middle; else high = middle;
    }
    return Math.abs(x[high] - value) < Math.abs(x[low] - value) ? high : low;
  }

  function point(plot, value) {
    const own = dataOf(plot);
    if (!own.series || own.series.length === 0) return;
    const steps = own.series.map(s => s.x[nearest(s.x, value)]).filter(s => s !== undefined);
    if (steps.length === 0) return;
    const step = steps.reduce((a, b) => Math.abs(b - value) < Math.abs(a - value) ? b : a);
    plot.dataset.at = step;
    // All widths first: reading one after a change would lay the page out again.
    const cursors = [...document.querySelectorAll('.chart-plot')].map(other => {
      const data = dataOf(other);
      return { cursor: other.querySelector('.chart-cursor'), share: (step - data.low) / (data.high - data.low), width: other.clientWidth };
    });
    for (const { cursor, share, width } of cursors) {
      cursor.style.transform = `translateX(${share * width}px)`;
      cursor.classList.toggle('shown', share >= 0 && share <= 1);
    }
    const head = document.createElement('div');
    head.className = 'chart-tip-step';
    head.textContent = `step ${step.toLocaleString('en')}`;
    const rows = own.series.map(series => {
      const row = document.createElement('div'), dot = document.createElement('span'), name = document.createElement('span');
      const number = document.createElement('b');
      dot.className = `dot c${Number(series.color)}`;
      name.textContent = series.name;
      const isThere = step >= series.x[0] && step <= series.x[series.x.length - 1];
      number.textContent = isThere ? series.y[nearest(series.x, step)] : '–';
      row.append(dot, name, number);
      return row;
    });
    tell(head, ...rows);
    const box = plot.getBoundingClientRect();
    const left = box.left + box.width * (step - own.low) / (own.high - own.low);
    const width = tip.offsetWidth, gap = 14;
    place(left + gap + width > innerWidth - 8 ? left - gap - width : left + gap, box.top + 8);
  }

  function tell(...content) {
    if (!tip) {
      tip = document.createElement('div');
      tip.className = 'chart-tip';
      tip.setAttribute('role', 'status');
      document.body.append(tip);
    }
    tip.replaceChildren(...content);
    tip.classList.add('shown');
  }

  function place(left, top) {
    tip.style.left = `${Math.max(8, Math.min(left, innerWidth - 8 - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  }

  function leave() {
    tip?.classList.remove('shown');
    for (const cursor of document.querySelectorAll('.chart-cursor.shown')) cursor.classList.remove('shown');
  }

  // What a chart means, for those who come to it by keys; under the pointer its title tells.
  function explain(plot) {
    const why = document.getElementById(plot.getAttribute('aria-describedby') ?? '')?.textContent;
    if (!why) return;
    tell(document.createTextNode(why));
    const box = plot.closest('figure').getBoundingClientRect();
    beside(box, box.left, 6);
  }

  // The playground's tokens: what training did to the one at the pointer, or that has the focus.
  function token(span) {
    tell(document.createTextNode(span.dataset.why));
    const box = span.getClientRects()[0]; // of a broken one, where it begins
    if (!box) return;
    beside(box, box.left + box.width / 2 - tip.offsetWidth / 2, 6);
  }

  // Above something, or below where the page's bar would be in the way.
  function beside(box, left, gap) {
    const above = box.top - tip.offsetHeight - gap;
    place(left, above < 64 ? Math.min(box.bottom + gap, innerHeight - 8 - tip.offsetHeight) : above);
  }

  // The page may scroll to what gets the focus, which hides the tip: the tip comes after that, unless something else does.
  function later(action) {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => { frame = requestAnimationFrame(action); });
  }

  let frame = 0;
  document.addEventListener('pointermove', event => {
    const plot = event.target.closest?.('.chart-plot'), word = event.target.closest?.('.token');
    cancelAnimationFrame(frame);
    if (word) { frame = requestAnimationFrame(() => token(word)); return; }
    if (!plot) { if (tip?.classList.contains('shown') && !document.activeElement?.matches('.chart-plot, .token')) leave(); return; }
    frame = requestAnimationFrame(() => {
      const box = plot.getBoundingClientRect(), data = dataOf(plot);
      point(plot, data.low + (data.high - data.low) * (event.clientX - box.left) / box.width);
    });
  }, { passive: true });
  document.addEventListener('click', event => { // a finger has no hover
    const word = event.target.closest?.('.token');
    if (word) token(word);
  });
  document.addEventListener('focusin', event => {
    if (!event.target.matches(':focus-visible')) return;
    if (event.target.matches('.chart-plot')) later(() => explain(event.target));
    else if (event.target.matches('.token')) later(() => token(event.target));
  });
  document.addEventListener('focusout', event => { if (event.target.matches?.('.chart-plot, .token')) leave(); });
  document.addEventListener('scroll', leave, { passive: true });

  document.addEventListener('keydown', event => {
    const plot = event.target.closest?.('.chart-plot');
    if (plot && ['ArrowLeft', 'ArrowRight', 'Home', 'End'].includes(event.key)) {
      const data = dataOf(plot), x = data.series?.[0]?.x ?? [];
      if (x.length === 0) return;
      cancelAnimationFrame(frame);
      const at = plot.dataset.at === undefined ? x.length - 1 : nearest(x, Number(plot.dataset.at));
      const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: x.length - 1 }[event.key];
      point(plot, x[Math.min(x.length - 1, Math.max(0, next))]);
      event.preventDefault();
    } else if (event.key === 'Escape') {
      leave();
    }
    // Tabs and the tokens of an answer are one stop of the tab key each; arrows go from one to the next.
    const tab = event.target.closest?.('[role=tab]'), word = event.target.closest?.('.token');
    if (tab) go([...tab.parentElement.querySelectorAll('[role=tab]')], tab, true)?.click();
    if (word) {
      const next = go([...word.parentElement.querySelectorAll('.token')], word, false);
      if (next) { word.tabIndex = -1; next.tabIndex = 0; }
    }

    function go(all, from, isRing) {
      const at = all.indexOf(from), last = all.length - 1;
      const step = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
      if (step === undefined || event.ctrlKey || event.altKey || event.metaKey) return undefined;
      const next = all[isRing ? (step + all.length) % all.length : Math.min(last, Math.max(0, step))];
      event.preventDefault();
      next.focus();
      return next;
    }
  });
})();
