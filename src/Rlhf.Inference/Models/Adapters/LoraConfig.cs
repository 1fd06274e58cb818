using Rlhf.Runtime.Text;

namespace Rlhf.Models.Adapters;

/// <summary>Which biases are trained with an adapter.</summary>
public enum LoraBias
{
    /// <summary>None.</summary>
    None,

    /// <summary>All biases of the model.</summary>
    All,

    /// <summary>Those of the layers that the adapter changes.</summary>
    LoraOnly,
}

/// <summary>What a new adapter's matrices begin as.</summary>
public enum LoraInit
{
    /// <summary>A uniform in ± 1/√inputs, B 0: the model is unchanged at first. PEFT: <c>true</c>.</summary>
    Default,

    /// <summary>A normal with standard deviation 1/r, B 0. PEFT: <c>"gaussian"</c>.</summary>
    Gaussian,

    /// <summary>
    /// A and B 0: a place for values that are read or averaged later. Nothing can be learned from there, as the gradients of both are 0.
    /// </summary>
    Zero,

    /// <summary>A and B uniform, so that the model changes at once: for tests. PEFT: <c>false</c>.</summary>
    Random,
}

/// <summary>
/// Low-rank adaptation (Hu et al. 2021): which layers get an update B · A of low rank, beside weights that stay as they are, and how it is
/// scaled. Names, defaults and rules are PEFT's; <see cref="LoraConfigFile"/> reads and writes its adapter_config.json.
/// </summary>
public sealed record LoraConfig
{
    /// <summary>Rank of the update: A is [r, inputs], B [outputs, r]. 8 by default.</summary>
    public int R { get; init; } = 8;

    /// <summary>α: the update is multiplied with α / r. 8 by default.</summary>
    public double LoraAlpha { get; init; } = 8;

    /// <summary>Share of the layer's inputs that A does not see while training. 0 by default.</summary>
    public double LoraDropout { get; init; }

    /// <summary>The layers to adapt; null takes the usual ones of the model's family (<see cref="ModelFamily.LoraTargetModules"/>).</summary>
    public ModuleSelection? TargetModules { get; init; }

    /// <summary>Layers to leave out of <see cref="TargetModules"/>.</summary>
    public ModuleSelection? ExcludeModules { get; init; }

    /// <summary>Other ranks, by name of a layer or a regular expression at the end of it; the first that matches counts.</summary>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];

    /// <summary>Other values of α, likewise.</summary>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];

    /// <summary>Divide α by √r instead of r (Kalajdzievski 2023), so that a higher rank does not learn more slowly.</summary>
    public bool UseRslora { get; init; }

    /// <summary>Learn direction and magnitude of the weights apart (Liu et al. 2024).</summary>
    public bool UseDora { get; init; }

    /// <summary>Biases to train as well.</summary>
    public LoraBias Bias { get; init; }

    /// <summary>
    /// Modules that are trained and saved as a whole: every module whose name ends in one of these. Classifiers add their heads themselves.
    /// </summary>
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary>Numbers of the blocks to adapt; empty is all of them. Not for a regular expression.</summary>
    public IReadOnlyList<int> LayersToTransform { get; init; } = [];

    /// <summary>What the list of blocks is called in the names of modules, such as <c>layers</c> or <c>h</c>; empty is any.</summary>
    public IReadOnlyList<string> LayersPattern { get; init; } = [];

    /// <summary>What the matrices begin as.</summary>
    public LoraInit InitLoraWeights { get; init; }

    /// <summary>The rank of a layer's update.</summary>
    /// <exception cref="FormatException">A key of <see cref="RankPattern"/> is no valid expression.</exception>
    public int RankOf(string module) => Of(RankPattern, module) ?? R;

    /// <summary>What a layer's update B · A is multiplied with: α / r, or α / √r.</summary>
    /// <exception cref="FormatException">A key of a pattern is no valid expression.</exception>
    public double ScaleOf(string module)
    {
        int rank = RankOf(module);
        return (Of(AlphaPattern, module) ?? LoraAlpha) / (UseRslora ? Math.Sqrt(rank) : rank);
    }

    /// <summary>What is wrong with the settings, each a sentence; empty when nothing is.</summary>
    public IEnumerable<string> Validate()
    {
        if (R < 1) yield return $"R is {R}; an adapter needs a rank of at least 1.";
        if (!(LoraAlpha > 0) || !double.IsFinite(LoraAlpha)) yield return $"LoraAlpha is {LoraAlpha}; it must be above 0.";
        if (!(LoraDropout is >= 0 and < 1)) yield return $"LoraDropout is {LoraDropout}; it must be at least 0 and below 1.";
        foreach (var (name, rank) in RankPattern)
            if (rank < 1)
                yield return $"RankPattern gives {UntrustedText.Quote(name)} the rank {rank}; an adapter needs a rank of at least 1.";
        foreach (var (name, alpha) in AlphaPattern)
            if (!(alpha > 0) || !double.IsFinite(alpha))
                yield return $"AlphaPattern gives {UntrustedText.Quote(name)} the value {alpha}; it must be above 0.";
        if (LayersToTransform.Count > 0 && TargetModules?.Pattern is { } pattern)
            yield return pattern == ModuleSelection.AllLinear.Pattern
                ? "LayersToTransform needs TargetModules by name; with all-linear, leave it out or name the layers."
                : "LayersToTransform needs TargetModules by name; let the regular expression say the numbers of the layers.";
        if (LayersPattern.Count > 0 && LayersToTransform.Count == 0)
            yield return "LayersPattern says what LayersToTransform counts; give both, or neither.";
        if (LayersToTransform.FirstOrDefault(l => l < 0) is < 0 and var negative)
            yield return $"LayersToTransform has {negative}; blocks are counted from 0.";
        foreach (var key in RankPattern.Select(p => p.Key).Concat(AlphaPattern.Select(p => p.Key)).Concat(LayersPattern))
            if (Problem(key) is { } problem)
                yield return problem;
    }

    private static string? Problem(string pattern)
    {
        try
        {
            ModuleSelection.Compile(pattern, pattern);
            return null;
        }
        catch (FormatException e)
        {
            return e.Message;
        }
    }

    private static T? Of<T>(IReadOnlyList<KeyValuePair<string, T>> patterns, string module) where T : struct =>
        ModuleSelection.KeyOf(patterns.Select(p => p.Key), module) is { } key ? patterns.First(p => p.Key == key).Value : null;
}
