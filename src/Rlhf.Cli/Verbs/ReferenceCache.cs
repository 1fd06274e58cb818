using Rlhf.Cli.Models;
using Rlhf.Cli.Terminal;
using Rlhf.Models.Adapters;
using Rlhf.Training.Preferences;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Cli.Verbs;

/// <summary>
/// What a reference says of pairs, kept in a file beside them: the next run of the same reference and pairs, with other settings, reads it.
/// The file's name tells reference and tokens apart, so that one of others is never taken.
/// </summary>
/// <param name="pairs">The file of the pairs, or another source.</param>
/// <param name="runFolder">Where the file goes when the pairs are not a local file.</param>
/// <param name="reference">The reference's fingerprint.</param>
internal sealed class ReferenceCache(string pairs, string runFolder, string reference)
{
    /// <summary>Examples with what the reference says of them, read or computed.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="examples">The pairs.</param>
    /// <param name="model">The reference.</param>
    /// <param name="batchSize">Pairs that are computed together.</param>
    public IReadOnlyList<PairExample> With(VerbContext context, IReadOnlyList<PairExample> examples, Reference model, int batchSize)
    {
        if (examples.Count == 0)
            return examples;
        string key = Fingerprint.OfTexts([reference, Fingerprint.OfTokens(examples.SelectMany(e => (int[][])[e.Prompt, e.Chosen, e.Rejected]))])[..16];
        string file = File.Exists(pairs) ? $"{pairs}.reference-{key}.safetensors" : Path.Combine(runFolder, $"reference-{key}.safetensors");
        if (File.Exists(file) && Read(file, examples) is { } known)
        {
            context.Screen.Line($"The reference's logprobs are those of {Screen.Safe(file)}.");
            return known;
        }
        var computed = ProgressDisplay.Run(context.Screen, "Asking the reference", "pair", examples.Count,
            display => DpoTrainer.WithReference(examples, model, batchSize, done => display.Report(done), context.Stop));
        using var scope = NewDisposeScope();
        SafeTensors.Save(file, new Dictionary<string, Tensor>
        {
            ["chosen"] = tensor(computed.Select(e => e.Reference!.Value.Chosen).ToArray()),
            ["rejected"] = tensor(computed.Select(e => e.Reference!.Value.Rejected).ToArray()),
        });
        context.Screen.Line($"The reference's logprobs were kept in {Screen.Safe(file)}.");
        return computed;
    }

    private static PairExample[]? Read(string file, IReadOnlyList<PairExample> examples)
    {
        using var scope = NewDisposeScope();
        var stored = SafeTensors.Load(file);
        return stored.TryGetValue("chosen", out var chosen) && stored.TryGetValue("rejected", out var rejected)
            && chosen.shape is [var n] && n == examples.Count && rejected.shape.SequenceEqual(chosen.shape)
            && chosen.data<float>().ToArray() is var first && rejected.data<float>().ToArray() is var second
            ? [.. examples.Select((e, i) => e with { Reference = new(first[i], second[i]) })] : null;
    }
}
