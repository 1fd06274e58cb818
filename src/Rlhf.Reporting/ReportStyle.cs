namespace Rlhf.Reporting;

/// <summary>How the report looks, and the few lines of script that show a chart's numbers under the pointer. Neither has a less-than
/// sign or an ampersand, so that the page is XML as well.</summary>
internal static class ReportStyle
{
    public const string Css = """

        :root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#16181d;--soft:#565c66;--line:#e4e5e8;--grid:#e9eaec;
        --good:#0f7a52;--good-bg:#e3f4ec;--bad:#b3261e;--bad-bg:#fbe9e7;--mid:#8a5a00;--mid-bg:#fdf1d8;--flat:#4b515c;--flat-bg:#eceef1}
        @media (prefers-color-scheme:dark){:root{--bg:#111317;--card:#181b20;--ink:#eceef1;--soft:#a3aab5;--line:#2a2e36;--grid:#2a2e36;
        --c0:#8b929d;--c1:#6ea1ff;--c2:#f08a55;--c3:#3fbf9b;--c4:#c188e6;--c5:#d9a93a;--c6:#ee7490;--c7:#63b6d6;--c8:#a9b85c;
        --good:#5fd3a4;--good-bg:#12332a;--bad:#ff9a8f;--bad-bg:#3d1b1a;--mid:#f0c060;--mid-bg:#3a2d10;--flat:#b4bac4;--flat-bg:#262a31}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
        -webkit-text-size-adjust:100%;font-variant-numeric:tabular-nums}
        main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
        header p.what{margin:0 0 14px;color:var(--soft);font-size:14px}
        header p.what b{color:var(--ink);font-weight:600}
        h1{font-size:clamp(19px,2.3vw,24px);line-height:1.4;font-weight:600;letter-spacing:-.012em;margin:0 0 6px;max-width:38em;text-wrap:pretty}h1 span{font-weight:400;color:var(--soft)}
        .badge{display:inline-block;font-size:13px;font-weight:600;letter-spacing:.01em;padding:3px 11px;border-radius:99px;margin:0 0 12px}
        .improved{color:var(--good);background:var(--good-bg)}.worse,.failed{color:var(--bad);background:var(--bad-bg)}
        .doubtful{color:var(--mid);background:var(--mid-bg)}.unclear,.unmeasured{color:var(--flat);background:var(--flat-bg)}
        h2{font-size:18px;font-weight:600;letter-spacing:-.005em;margin:52px 0 4px}
        h2+p{margin:0 0 16px}p.note,figcaption span{color:var(--soft);font-size:14px}
        h3{font-size:15px;font-weight:600;margin:26px 0 8px}
        dl.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:1px;margin:28px 0 0;background:var(--line);
        border:1px solid var(--line);border-radius:12px;overflow:hidden}
        dl.tiles div{background:var(--card);padding:14px 18px 15px}
        dl.tiles dt{color:var(--soft);font-size:13px}dl.tiles dd{margin:3px 0 0;font-size:21px;font-weight:600;letter-spacing:-.015em;white-space:nowrap}
        dl.tiles dd small{display:block;font-size:12.5px;font-weight:400;color:var(--soft);letter-spacing:0;white-space:normal;line-height:1.35}
        dl.tiles dd i{font-style:normal;font-weight:400;color:var(--soft);font-size:17px}
        .charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:20px;margin-top:18px}
        figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 14px 8px;position:relative;break-inside:avoid}
        figure.wide{grid-column:1/-1}
        figcaption{font-size:15px;font-weight:600;line-height:1.35;padding:0 4px 4px}figcaption span{display:block;font-weight:400;font-size:13px;min-height:1.3em}
        svg.chart{display:block;width:100%;height:auto;font-family:inherit;touch-action:pan-y}
        svg.narrow{display:none!important}svg.chart:focus-visible{outline:2px solid var(--ink);outline-offset:2px;border-radius:6px}
        .spoken{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}svg .guide{stroke:var(--soft)!important}
        .tip{position:absolute;pointer-events:none;background:var(--ink);color:var(--bg);font-size:12.5px;line-height:1.45;padding:5px 9px;border-radius:7px;
        white-space:nowrap;z-index:2;top:58px}
        .scroll{overflow-x:auto;border:1px solid var(--line);border-radius:12px;background:var(--card)}
        table{border-collapse:collapse;width:100%;font-size:14.5px;line-height:1.45}
        th,td{padding:9px 14px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
        tbody tr:last-child>*{border-bottom:0}
        thead th{font-size:13px;font-weight:600;color:var(--soft);white-space:nowrap}
        tbody th{font-weight:500}td.n,th.n{text-align:right;white-space:nowrap}
        td.text{overflow-wrap:anywhere;white-space:pre-line;min-width:9em}td.query{color:var(--soft)}
        .delta{display:inline-block;min-width:4.1em;padding:1px 8px;border-radius:7px;text-align:right;font-weight:600}
        .up{color:var(--good);background:var(--good-bg)}.down{color:var(--bad);background:var(--bad-bg)}.same{color:var(--flat);background:var(--flat-bg)}
        ul.warnings{list-style:none;margin:14px 0 0;padding:0;display:grid;gap:8px}
        ul.warnings li{border-left:3px solid var(--mid);background:var(--mid-bg);border-radius:0 8px 8px 0;padding:9px 14px;font-size:14.5px;overflow-wrap:anywhere}
        ul.warnings b{color:var(--mid);font-weight:600}
        code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:13.5px}
        pre{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:13px 16px;overflow-x:auto;margin:8px 0;white-space:pre-wrap;overflow-wrap:anywhere}
        details{margin-top:14px}summary{cursor:pointer;font-size:14.5px;color:var(--soft);padding:4px 0}
        summary:focus-visible{outline:2px solid var(--ink);outline-offset:3px;border-radius:4px}
        td.value{overflow-wrap:anywhere}footer{margin-top:56px;color:var(--soft);font-size:13px}
        @media (max-width:720px){main{padding:24px 14px 48px}.charts{grid-template-columns:minmax(0,1fr);gap:14px}h2{margin-top:40px}
        dl.tiles{grid-template-columns:repeat(2,1fr)}dl.tiles div:last-child:nth-child(odd){grid-column:1/-1}dl.tiles div{padding:11px 13px}dl.tiles dd{font-size:18px}
        table.cards thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}table.cards,table.cards tbody,table.cards tr,table.cards td,table.cards tbody th{display:block;width:100%}
        table.cards tbody th{border:0;padding:0 0 4px;font-weight:600}table.cards td:empty{display:none}svg.chart text{font-size:14px!important}
        svg.broad{display:none!important}svg.narrow{display:block!important}
        table.cards tr{padding:12px 14px;border-bottom:1px solid var(--line)}table.cards tr:last-child{border-bottom:0}
        table.cards td{border:0;padding:3px 0 3px 8.2em;text-align:left;position:relative;min-height:1.6em;white-space:pre-line}
        table.cards td::before{content:attr(data-label);position:absolute;left:0;color:var(--soft);font-size:13px}}
        @media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--grid:#ddd}main{max-width:none;padding:0}body{font-size:11pt;print-color-adjust:exact;
        -webkit-print-color-adjust:exact}h2{break-after:avoid}tr,li,dl.tiles div{break-inside:avoid}.tip{display:none}details:not([open]){display:none}}

        """;

    public const string Script = """

        var spoken=document.createElement("p");spoken.className="spoken";spoken.setAttribute("role","status");document.body.appendChild(spoken);
        document.querySelectorAll("svg[data-plot]").forEach(function(svg){
        var p=svg.dataset.plot.split(" ").map(Number),left=p[0],right=p[1],low=p[4],high=p[5],tip=null,line=null,at=-1;
        var series=Array.from(svg.querySelectorAll("g.data")).map(function(g){return{name:g.dataset.name,x:g.dataset.x.split(" ").map(Number),y:g.dataset.y.split(" ").map(Number)}});
        var xs=series[0].x,last=xs.length-1;
        function show(n){n=Math.abs(n);var m=n===0?"0":0.001>n?n.toExponential(2):n>=1000?Math.round(n).toLocaleString("en"):String(+n.toPrecision(4));return m}
        function hide(){if(tip){tip.remove();line.remove();tip=line=null}at=-1;spoken.textContent=""}
        function point(best){
        var box=svg.getBoundingClientRect(),card=svg.parentNode.getBoundingClientRect(),scale=svg.viewBox.baseVal.width/box.width;at=best;
        if(!tip){tip=document.createElement("div");tip.className="tip";svg.parentNode.appendChild(tip);
        line=document.createElementNS("http://www.w3.org/2000/svg","line");line.setAttribute("style","stroke:var(--soft)");svg.appendChild(line)}
        var x=left+(xs[best]-low)/(high-low)*(right-left);
        line.setAttribute("x1",x);line.setAttribute("x2",x);line.setAttribute("y1",p[2]);line.setAttribute("y2",p[3]);
        var rows=["step "+xs[best]].concat(series.map(function(s){var i=s.x.indexOf(xs[best]),v=0>i?NaN:s.y[i];return isNaN(v)?"":s.name+" "+(0>v?"\u2212":"")+show(v)})).filter(String);
        tip.textContent="";rows.forEach(function(t){var d=document.createElement("div");d.textContent=t;tip.appendChild(d)});
        var px=x/scale+box.left-card.left,w=tip.offsetWidth;
        tip.style.left=Math.max(4,Math.min(card.width-w-4,px+(px>card.width/2?-w-12:12)))+"px";tip.style.top=Math.round(box.top-card.top)+"px";return rows}
        function under(e){
        var box=svg.getBoundingClientRect(),v=low+((e.clientX-box.left)/box.width*svg.viewBox.baseVal.width-left)/(right-left)*(high-low),best=0;
        xs.forEach(function(x,i){if(Math.abs(xs[best]-v)>Math.abs(x-v))best=i});point(best)}
        svg.setAttribute("tabindex","0");
        svg.addEventListener("pointermove",under);svg.addEventListener("pointerdown",under);
        svg.addEventListener("pointerleave",function(e){if(e.pointerType!=="touch")hide()});svg.addEventListener("blur",hide);
        svg.addEventListener("keydown",function(e){
        if(e.key==="Escape")hide();
        var to={ArrowLeft:0>at?last:at-1,ArrowRight:at+1,Home:0,End:last}[e.key];
        if(to===undefined)return;
        spoken.textContent=point(Math.max(0,Math.min(last,to))).join(", ");e.preventDefault()})});

        """;
}
