using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Rlhf.Generation;

namespace Rlhf.Serving;

/// <summary>What a server counts, in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/).</summary>
internal sealed class ServingMetrics
{
    /// <summary>The media type of <see cref="Write"/>.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly ConcurrentDictionary<(string Path, int Status), long> requests = [];
    private readonly ConcurrentDictionary<string, ModelMetrics> models = [];

    /// <summary>Counts an answered request.</summary>
    /// <param name="path">One of few paths.</param>
    /// <param name="status">The status of the answer; 499: the client left before it was whole.</param>
    public void Answered(string path, int status) => requests.AddOrUpdate((path, status), 1, (_, count) => count + 1);

    /// <summary>What is counted of a model.</summary>
    public ModelMetrics Of(string model) => models.GetOrAdd(model, _ => new());

    /// <summary>All numbers as they are now.</summary>
    /// <param name="completers">The models by name.</param>
    public string Write(IReadOnlyDictionary<string, TextCompleter> completers)
    {
        var text = new StringBuilder();
        Head(text, "rlhf_requests_total", "counter", "Requests by path and status; 499: the client left.");
        foreach (var ((path, status), count) in requests.OrderBy(r => r.Key))
            Line(text, "rlhf_requests_total", $"path=\"{path}\",status=\"{status}\"", count);
        Each("rlhf_prompt_tokens_total", "counter", "Tokens of prompts that were read.", (m, _) => Interlocked.Read(ref m.PromptTokens));
        Each("rlhf_completion_tokens_total", "counter", "Tokens that were written.", (m, _) => Interlocked.Read(ref m.CompletionTokens));
        Each("rlhf_texts_running", "gauge", "Texts that are being written.", (_, c) => c.Running);
        Each("rlhf_texts_waiting", "gauge", "Texts that wait until they are written.", (_, c) => c.Waiting);
        Times("rlhf_time_to_first_token_seconds", "From asking for a text to its first token.", m => m.ToFirstToken);
        Times("rlhf_time_per_token_seconds", "From a token of a text to the next.", m => m.PerToken);
        return text.ToString();

        void Each(string name, string type, string help, Func<ModelMetrics, TextCompleter, long> value)
        {
            Head(text, name, type, help);
            foreach (var (model, completer) in completers)
                Line(text, name, Label(model), value(Of(model), completer));
        }
        void Times(string name, string help, Func<ModelMetrics, Histogram> histogram)
        {
            Head(text, name, "histogram", help);
            foreach (string model in completers.Keys)
                histogram(Of(model)).Write(text, name, Label(model));
        }
    }

    private static string Label(string model) => "model=\""
        + model.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)
        + "\"";

    private static void Head(StringBuilder text, string name, string type, string help) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");

    private static void Line(StringBuilder text, string name, string label, long value) =>
        text.Append(CultureInfo.InvariantCulture, $"{name}{{{label}}} {value}\n");
}

/// <summary>What is counted of one model.</summary>
internal sealed class ModelMetrics : IDecodingWatch
{
    public long PromptTokens, CompletionTokens;

    public Histogram ToFirstToken { get; } = new(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60);

    public Histogram PerToken { get; } = new(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5);

    public void FirstToken(int promptTokens, TimeSpan waited)
    {
        Interlocked.Add(ref PromptTokens, promptTokens);
        Interlocked.Increment(ref CompletionTokens);
        ToFirstToken.Add(waited);
    }

    public void NextToken(TimeSpan took)
    {
        Interlocked.Increment(ref CompletionTokens);
        PerToken.Add(took);
    }
}
