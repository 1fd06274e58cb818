using Rlhf.Weights;

namespace Rlhf.Models.Adapters;

/// <summary>The labels of a classifier that is an adapter, whose base may know nothing of them.</summary>
internal static class AdapterLabels
{
    /// <summary>
    /// The labels of a head that the adapter brings; null where the base has a head of that size, so that its own labels hold. They are in the
    /// adapter's config.json where this library saved it; PEFT saves none, and they are numbered.
    /// </summary>
    /// <param name="folder">The adapter's folder.</param>
    /// <param name="baseFolder">The base's.</param>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    public static IReadOnlyList<string>? Of(string folder, string baseFolder)
    {
        if (File.Exists(Path.Combine(folder, "config.json")))
            return IsHeadOfBase(baseFolder, LabelMaps.Read(ModelConfig.Read(folder).Root)) is { } own ? own : null;
        using var weights = LoraAdapter.OpenWeights(folder);
        string? head = weights.Names.FirstOrDefault(n => n.EndsWith("score.weight", StringComparison.Ordinal))
            ?? weights.Names.FirstOrDefault(n => n.EndsWith(".classifier.weight", StringComparison.Ordinal))
            ?? weights.Names.FirstOrDefault(n => n.EndsWith("classifier.out_proj.weight", StringComparison.Ordinal));
        if (head is null || weights.Shape(head) is not [var rows, _])
            return null;
        return IsHeadOfBase(baseFolder, [.. Enumerable.Range(0, checked((int)rows)).Select(i => $"LABEL_{i}")], byCount: true);
    }

    private static IReadOnlyList<string>? IsHeadOfBase(string baseFolder, IReadOnlyList<string> labels, bool byCount = false)
    {
        var config = ModelConfig.Read(baseFolder);
        bool classifies = config.Root.Texts("architectures") is [var architecture, ..]
            && architecture.EndsWith("ForSequenceClassification", StringComparison.Ordinal);
        var own = LabelMaps.Read(config.Root);
        return classifies && (byCount ? own.Count == labels.Count : own.SequenceEqual(labels)) ? null : labels;
    }
}
