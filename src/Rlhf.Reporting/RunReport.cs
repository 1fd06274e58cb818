using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Rlhf.Evaluation;
using Rlhf.Runs;

namespace Rlhf.Reporting;

/// <summary>A setting of a run.</summary>
/// <param name="Section">Its group.</param>
/// <param name="Name">Its name, as in config.yaml.</param>
/// <param name="Value">Its value.</param>
/// <param name="Default">Its value by default; null: not known.</param>
public sealed record RunSetting(string Section, string Name, string Value, string? Default)
{
    /// <summary>Is it other than the default?</summary>
    public bool IsChanged => Default is not null && Default != Value;
}

/// <summary>
/// A run as one page that needs nothing else: no network, no other file. It is HTML and well-formed XML; every text of the run in it is
/// escaped, and its policy lets no script run but its own.
/// </summary>
public static class RunReport
{
    private const int SamplesShown = 16, ExtremesShown = 6, LettersShown = 600;

    /// <summary>The page.</summary>
    /// <param name="run">The run.</param>
    /// <param name="settings">Its settings, in order; none when they are not known.</param>
    public static string Of(RunData run, IReadOnlyList<RunSetting> settings)
    {
        var verdict = RunVerdict.Of(run);
        string hash = Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Newlines(ReportStyle.Script))));
        verdict = verdict with { Sentence = verdict.Sentence.Replace(" %", "\u00a0%", StringComparison.Ordinal) };
        string policy = $"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'";
        return "<!DOCTYPE html>\n" + Html.Of($"""
            <html xmlns="http://www.w3.org/1999/xhtml" lang="en">
            <head>
            <meta charset="utf-8"/>
            <meta http-equiv="Content-Security-Policy" content="{policy}"/>
            <meta name="viewport" content="width=device-width, initial-scale=1"/>
            <link rel="icon" href="data:,"/>
            <title>{run.Name} — {run.Kind.Title}</title>
            <style>{Html.Trusted(Newlines(ReportStyle.Css))}</style>
            </head>
            <body>
            <main>
            {Head(run, verdict)}
            {Evaluation(run)}
            {Samples(run)}
            {Curves(run)}
            {Warnings(run)}
            {Settings(settings)}
            {Reproduction(run, settings)}
            <footer>Made by Rlhf {Version} from the run's own files; nothing in this page is loaded from elsewhere.</footer>
            </main>
            <script>{Html.Trusted(Newlines(ReportStyle.Script))}</script>
            </body>
            </html>

            """).ToString().ReplaceLineEndings("\n");
    }

    private static string Version => typeof(RunReport).Assembly.GetName().Version?.ToString(3) ?? "";

    private static string Newlines(string text) => text.ReplaceLineEndings("\n");

    private static Html Head(RunData run, RunVerdict verdict)
    {
        string word = verdict.Outcome switch
        {
            Outcome.Improved => verdict.IsAgainstChance ? "Better than chance" : "Improved",
            Outcome.Doubtful => "Doubtful",
            Outcome.Unclear => "No clear change",
            Outcome.Worse => "Worse",
            Outcome.Failed => "Failed",
            _ => run.Info?.State is RunState.Stopped or RunState.Running ? "Not finished" : "Not measured",
        };
        string when = run.Started is { } started ? started.UtcDateTime.ToString("d MMMM yyyy, HH:mm", CultureInfo.InvariantCulture) + " UTC" : "";
        long asked = run.Info?.Steps ?? 0;
        string[] facts =
        [
            run.Kind.Title, (asked > run.LastStep ? $"{Numbers.Count(run.LastStep)} of " : "") + Numbers.Count(Math.Max(asked, run.LastStep), "step"),
            .. run.Number("seconds") is { } seconds ? [Numbers.Duration(seconds)] : Array.Empty<string>(),
            .. run.Info?.TrainedWeights is { } trained ? [$"{Numbers.Count(trained, "weight")} trained"] : Array.Empty<string>(),
            .. when == "" ? Array.Empty<string>() : [when],
        ];
        // The first thing that it says is what counts most.
        int first = verdict.Sentence.IndexOf("; ", StringComparison.Ordinal) is var at and >= 0 ? at + 1 : verdict.Sentence.Length;
        return Html.Of($"""
            <header>
            <p class="what"><b><bdi>{run.Name}</bdi></b> · {string.Join(" · ", facts)}</p>
            <p class="badge {verdict.Outcome.ToString().ToLowerInvariant()}">{word}</p>
            <h1>{Capital(verdict.Sentence[..first])}<span>{verdict.Sentence[first..]}</span></h1>
            {Tiles(run)}
            </header>
            """);
    }

    private static Html Tiles(RunData run)
    {
        List<Html> tiles = [];
        void Pair(string name, double? before, double? after, Func<double, string> show, string note = "")
        {
            if (before is { } b && after is { } a)
                tiles.Add(Tile(name, Html.Of($"<i>{show(b)} →</i> {show(a)}"), note));
        }
        void One(string name, double? value, Func<double, string> show, string note = "")
        {
            if (value is { } known)
                tiles.Add(Tile(name, Html.Of($"{show(known)}"), note));
        }
        var c = run.Evaluation?.Comparison;
        Pair("Reward, held out", c?.Before.Reward.Mean ?? run.Number("reward_before", "mean"),
            c?.After.Reward.Mean ?? run.Number("reward_after", "mean"), Numbers.Signed);
        Pair("Unseen judge", c?.Before.Judge?.Mean ?? run.Number("judge_before"), c?.After.Judge?.Mean ?? run.Number("judge_after"), Numbers.Signed);
        One("KL", c?.After.Kl ?? run.Number("kl"), v => Numbers.Fixed(v, 1), "nats per response");
        Pair("Distinct-2", c?.Before.Distinct2 ?? run.Number("distinct2_before"), c?.After.Distinct2 ?? run.Number("distinct2_after"), v => Numbers.Fixed(v));
        Pair("Perplexity", c?.Before.Perplexity ?? run.Number("perplexity_before"), c?.After.Perplexity ?? run.Number("perplexity_after"),
            v => Numbers.Short(Math.Round(v)), "under the model before");
        One("Held-out perplexity", run.Number("eval_perplexity"), Numbers.Short);
        One("Held-out accuracy", run.Number("held_out_pairs", "accuracy") ?? run.Number("eval_accuracy"), Numbers.Percent);
        One("Held-out loss", run.Number("eval_loss"), v => Numbers.Short(v));
        if (tiles.Count == 0)
            return Html.Empty;
        return Html.Of($"<dl class=\"tiles\">{Html.Join(tiles)}</dl>");
    }

    private static Html Tile(string name, Html value, string note) =>
        Html.Of($"<div><dt>{name}</dt><dd>{value}{(note == "" ? Html.Empty : Html.Of($"<small>{note}</small>"))}</dd></div>");

    private static Html Evaluation(RunData run)
    {
        Chart[] charts = [.. new[] { RunCharts.Rewards(run), RunCharts.Intervals(run) }.OfType<Chart>()];
        if (charts.Length == 0)
            return Html.Empty;
        string heading = run.Evaluation is null && run.Number("queries") is null ? "Rewards while training" : "Held-out evaluation";
        string note = run.Evaluation is not { } e ? "Rewards of the samples that were logged."
            : e.Step == run.LastStep ? $"{Numbers.Count(e.Comparison.Rows.Count, "query that was", "queries that were")} not trained on, answered with the same random numbers before and after."
            : $"Measured after step {Numbers.Count(e.Step)}; the run has been resumed since.";
        return Html.Of($"""
            <section>
            <h2>{heading}</h2>
            <p class="note">{note}</p>
            <div class="charts">{Html.Join(charts.Select((chart, i) => Figure(chart, "e" + i, false)))}</div>
            {(run.Evaluation is { } file ? Measures(file.Comparison) : Html.Empty)}
            </section>
            """);
    }

    private static Html Measures(EvaluationComparison c)
    {
        var rows = Measure.Of(c).Select(m => (m.Name, Texts: m.Texts(Numbers.Fixed, Numbers.Signed)));
        return Html.Of($"""
            <div class="scroll" style="margin-top:20px" tabindex="0" role="group" aria-label="Measures before and after"><table class="cards">
            <thead><tr><th scope="col">Measure</th><th scope="col" class="n">before</th><th scope="col" class="n">after</th><th scope="col" class="n">difference, query by query</th></tr></thead>
            <tbody>{Html.Join(rows.Select(r => Html.Of($"<tr><th scope=\"row\">{r.Name}</th><td class=\"n\" data-label=\"before\">{r.Texts.Before}</td><td class=\"n\" data-label=\"after\">{r.Texts.After}</td><td class=\"n\" data-label=\"difference\">{r.Texts.Gain}</td></tr>\n")))}</tbody>
            </table></div>
            """);
    }

    private static Html Samples(RunData run)
    {
        if (run.Evaluation is { Comparison.Rows: { Count: > 0 } rows })
        {
            var ordered = rows.Where(r => double.IsFinite(r.RewardAfter - r.RewardBefore)).OrderBy(r => r.RewardAfter - r.RewardBefore).ToArray();
            var others = rows.Count <= SamplesShown ? Html.Empty : Html.Of($"""
                <details><summary>The {ExtremesShown} that gained most, and the {ExtremesShown} that lost most</summary>
                <h3>Gained most</h3>{Comparison(ordered.TakeLast(ExtremesShown).Reverse())}
                <h3>Lost most</h3>{Comparison(ordered.Take(ExtremesShown))}
                </details>
                """);
            return Html.Of($"""
                <section>
                <h2>The same query, before and after</h2>
                <p class="note">The first {Math.Min(SamplesShown, rows.Count)} of {Numbers.Count(rows.Count, "held-out query", "held-out queries")}, not chosen.</p>
                {Comparison(rows.Take(SamplesShown))}{others}
                </section>
                """);
        }
        if (run.FirstSamples.Count == 0)
            return Html.Empty;
        var (first, last) = (run.FirstSamples[0].Step, run.LastSamples[^1].Step);
        return Html.Of($"""
            <section>
            <h2>Samples of training</h2>
            <h3>Step {Numbers.Count(first)}</h3>{List(run.FirstSamples.Where(s => s.Step == first).Take(SamplesShown / 2))}
            {(first == last ? Html.Empty : Html.Of($"<h3>Step {Numbers.Count(last)}</h3>{List(run.LastSamples.Where(s => s.Step == last).Take(SamplesShown / 2))}"))}
            </section>
            """);
    }

    private static Html Comparison(IEnumerable<EvaluationRow> rows) => Html.Of($"""
        <div class="scroll"><table class="cards">
        <thead><tr><th scope="col">Query</th><th scope="col">Response before</th><th scope="col" class="n">Reward</th><th scope="col">Response after</th><th scope="col" class="n">Reward</th><th scope="col" class="n">Change</th></tr></thead>
        <tbody>{Html.Join(rows.Select(r => Html.Of($"<tr>{Text("query", r.Query, "text query")}{Text("before", r.ResponseBefore, "text")}<td class=\"n\" data-label=\"reward\">{Numbers.Signed(r.RewardBefore)}</td>{Text("after", r.ResponseAfter, "text")}<td class=\"n\" data-label=\"reward\">{Numbers.Signed(r.RewardAfter)}</td><td class=\"n\" data-label=\"change\">{Delta(r.RewardAfter - r.RewardBefore)}</td></tr>\n")))}</tbody>
        </table></div>
        """);

    private static Html List(IEnumerable<RunSample> samples) => Html.Of($"""
        <div class="scroll"><table class="cards">
        <thead><tr><th scope="col">Query</th><th scope="col">Response</th><th scope="col" class="n">Reward</th></tr></thead>
        <tbody>{Html.Join(samples.Select(s => Html.Of($"<tr>{Text("query", s.Query, "text query")}{Text("response", s.Response, "text")}<td class=\"n\" data-label=\"reward\">{(double.IsNaN(s.Reward) ? Html.Empty : Delta(s.Reward))}</td></tr>\n")))}</tbody>
        </table></div>
        """);

    // Whatever direction a text has or switches to, it stays within its cell.
    private static Html Text(string label, string text, string kind) =>
        Html.Of($"<td class=\"{kind}\" data-label=\"{label}\"><bdi>{Short(text.Trim())}</bdi></td>");

    private static Html Delta(double change) => Html.Of(
        $"<span class=\"delta {(Math.Round(change, 2) > 0 ? "up" : Math.Round(change, 2) < 0 ? "down" : "same")}\">{Numbers.Signed(change)}</span>");

    private static Html Curves(RunData run)
    {
        var charts = RunCharts.Curves(run);
        return charts.Count == 0 ? Html.Empty : Html.Of($"""
            <section>
            <h2>How it went</h2>
            <p class="note">Over the {run.Kind.Axis}s of training. Point at a curve to read it, or go along it with the arrow keys.</p>
            <div class="charts">{Html.Join(charts.Select((chart, i) => Figure(chart, "c" + i, chart.Kind == ChartKind.Stack && i % 2 == 0)))}</div>
            </section>
            """);
    }

    private static Html Figure(Chart chart, string id, bool isWide) => Html.Of($"""
        <figure{(isWide ? Html.Trusted(" class=\"wide\"") : Html.Empty)}><figcaption>{chart.Title}<span>{chart.Note}</span></figcaption>
        {(isWide ? Html.Join([SvgChart.Draw(chart, id, 1000, 240, "broad"), SvgChart.Draw(chart, id + "n", style: "narrow")]) : SvgChart.Draw(chart, id))}</figure>

        """);

    private static Html Warnings(RunData run)
    {
        bool isKnown = run.Info is not null;
        if (run.Warnings.Count == 0)
            return !isKnown ? Html.Empty : Html.Of($"<section><h2>Warnings</h2><p class=\"note\">None was raised.</p></section>");
        return Html.Of($"""
            <section>
            <h2>Warnings</h2>
            <ul class="warnings">{Html.Join(run.Warnings.Select(w => Html.Of($"<li><b>Step {Numbers.Count(w.Step)}{(w.Count > 1 ? $", and {Numbers.Count(w.Count - 1)} later" : "")}</b> <bdi>{Short(w.Message)}</bdi></li>\n")))}</ul>
            </section>
            """);
    }

    private static Html Settings(IReadOnlyList<RunSetting> settings)
    {
        if (settings.Count == 0)
            return Html.Empty;
        string[] always = ["model", "ref_model", "reward_model", "reward_label", "judge", "dataset", "pairs", "steps", "seed"];
        var shown = settings.Where(s => s.IsChanged || always.Contains(s.Name) && s.Value != "none").ToArray();
        return Html.Of($"""
            <section>
            <h2>What was run</h2>
            <p class="note">Models, data, and settings that are not the defaults.</p>
            {Table(shown)}
            <details><summary>All {Numbers.Count(settings.Count, "setting")}</summary>{Table(settings)}</details>
            </section>
            """);

        static Html Table(IEnumerable<RunSetting> rows) => Html.Of($"""
            <div class="scroll"><table class="cards">
            <thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">Default</th></tr></thead>
            <tbody>{Html.Join(rows.Select(s => Html.Of($"<tr><th scope=\"row\"><code>{s.Name}</code></th><td class=\"value\" data-label=\"value\"><bdi>{Short(s.Value)}</bdi></td><td class=\"query value\" data-label=\"default\">{(s.IsChanged ? s.Default : "")}</td></tr>\n")))}</tbody>
            </table></div>
            """);
    }

    private static Html Reproduction(RunData run, IReadOnlyList<RunSetting> settings)
    {
        string verb = run.Verb == "" ? "VERB" : run.Verb;
        var sessions = run.Info?.Sessions ?? [];
        var seed = settings.FirstOrDefault(s => s.Name == "seed")?.Value;
        string facts = string.Join(" · ", ((string?[])[seed is null ? null : $"seed {seed}", sessions.LastOrDefault() is { } s ? $"Rlhf {s.Version}" : null,
            sessions.LastOrDefault()?.Device]).OfType<string>());
        return Html.Of($"""
            <section>
            <h2>How to repeat it</h2>
            <p class="note">{facts}</p>
            <pre><code>rlhf {verb} --config RUN/config.yaml</code></pre>
            <p class="note">RUN is this run's folder, whose <code>config.yaml</code> holds every setting. Start it from the folder where the run was started: relative paths in it begin there.</p>
            {(sessions.Count == 0 ? Html.Empty : Html.Of($"<p class=\"note\">It was made by the following; of full paths, only the last part is kept.</p>"))}
            {Html.Join(sessions.Select(s => Html.Of($"<pre><code>{s.Command}</code></pre><p class=\"note\">{s.Started.UtcDateTime.ToString("d MMMM yyyy, HH:mm", CultureInfo.InvariantCulture)} UTC{(s.ResumedAfter is { } step ? $", went on after step {Numbers.Count(step)}" : "")}</p>\n")))}
            </section>
            """);
    }

    private static string Short(string text) => text.Length <= LettersShown ? text
        : text[..(char.IsHighSurrogate(text[LettersShown - 1]) ? LettersShown - 1 : LettersShown)] + "…";

    private static string Capital(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];
}
