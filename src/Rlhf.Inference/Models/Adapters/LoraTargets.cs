using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Models.Layers;
using Rlhf.Runtime;
using Rlhf.Runtime.Text;

namespace Rlhf.Models.Adapters;

/// <summary>Which parts of a model an adapter changes: PEFT's rules of names.</summary>
internal static class LoraTargets
{
    private const int MostShown = 24;

    /// <summary>The linear layers that get an update.</summary>
    /// <param name="model">The model.</param>
    /// <param name="config">The settings, with <see cref="LoraConfig.TargetModules"/>.</param>
    /// <param name="isNew">Is every name that matches nothing an error? An adapter from a file may have been made for several models.</param>
    /// <exception cref="ConfigurationException">Nothing matches, or something that is no linear layer does.</exception>
    /// <exception cref="FormatException">An expression takes too long.</exception>
    public static IReadOnlyList<Linear> Linears(PretrainedModel model, LoraConfig config, bool isNew)
    {
        var targets = config.TargetModules!;
        var linears = model.Linears;
        string[] heads = targets.IsAllLinear ? Heads(model) : [];
        Linear[] found = [.. linears.Where(l => !heads.Contains(l.Name) && Includes(config, l.Name))];
        if (!targets.IsAllLinear)
            Check(model, config, linears, isNew);
        if (found.Length == 0)
            throw new ConfigurationException([$"TargetModules {UntrustedText.Clean(targets.ToString())}"
                + $"{(config.ExcludeModules is { } excluded ? $" without {UntrustedText.Clean(excluded.ToString())}" : "")}"
                + $"{(config.LayersToTransform.Count > 0 ? $" in the blocks {string.Join(", ", config.LayersToTransform)}" : "")} "
                + $"match no linear layer of {model.Architecture}; it has {Available(linears)}."]);
        return found;
    }

    /// <summary>The base's parameters that are trained and saved as a whole, by name, and the layers of a tied output that have none.</summary>
    /// <exception cref="ConfigurationException">A name matches nothing, where that is an error.</exception>
    public static IReadOnlyList<string> Saved(PretrainedModel model, LoraConfig config, bool isNew)
    {
        if (config.ModulesToSave.Count == 0)
            return [];
        string[] modules = [.. Modules(model)];
        if (isNew && config.ModulesToSave.FirstOrDefault(m => !modules.Any(name => name.EndsWith(m, StringComparison.Ordinal))) is { } unknown
            && !(model is SequenceClassifier && ClassifierHeads.Contains(unknown)))
            throw new ConfigurationException([$"ModulesToSave {unknown} is no module of {model.Architecture}; it has {Shown(modules)}."]);
        string[] roots = [.. modules.Where(name => config.ModulesToSave.Any(m => name.EndsWith(m, StringComparison.Ordinal)))];
        bool IsSaved(string name) => roots.Any(root => name.StartsWith(root + ".", StringComparison.Ordinal));
        // A tied output layer's weight is in no list of parameters.
        return [.. model.Parameters.Select(p => p.Key).Concat(model.Linears.Select(l => l.Name + ".weight")).Distinct().Where(IsSaved)];
    }

    /// <summary>What PEFT adds to <see cref="LoraConfig.ModulesToSave"/> for a classifier.</summary>
    public static IReadOnlyList<string> ClassifierHeads { get; } = ["classifier", "score"];

    /// <summary>What linear layers a model has, for people: the ends of their names.</summary>
    public static string Available(IReadOnlyList<Linear> linears) => Shown([.. linears.Select(l => l.Name)]);

    private static bool Includes(LoraConfig config, string module)
    {
        if (config.ExcludeModules?.Matches(module) == true || config.ModulesToSave.Any(m => IsPart(module, m)))
            return false;
        var targets = config.TargetModules!;
        if (!targets.Matches(module))
            return false;
        // A layer that is named in full is meant, whatever its block.
        return config.LayersToTransform.Count == 0 || targets.Names.Contains(module)
            || BlockOf(config, module) is { } block && config.LayersToTransform.Contains(block);
    }

    /// <summary>Is a module one of this name, or within one?</summary>
    private static bool IsPart(string module, string name) => $".{module}.".Contains($".{name}.", StringComparison.Ordinal);

    private static int? BlockOf(LoraConfig config, string module)
    {
        string[] lists = config.LayersPattern.Count > 0 ? [.. config.LayersPattern] : ["[^.]*"];
        var match = lists.Select(list => ModuleSelection.Compile($@"^.*\.{list}\.([0-9]+)\.", list))
            .Where(regex => ModuleSelection.IsMatch(regex, module)).Select(regex => regex.Match(module)).FirstOrDefault();
        return match is not null && int.TryParse(match.Groups[^1].Value, NumberStyles.None, CultureInfo.InvariantCulture, out int block)
            ? block : null;
    }

    private static void Check(PretrainedModel model, LoraConfig config, IReadOnlyList<Linear> linears, bool isNew)
    {
        var targets = config.TargetModules!;
        var others = Leaves(model).Except(linears.Select(l => l.Name));
        if (others.FirstOrDefault(m => Includes(config, m)) is { } other)
            throw new ConfigurationException([$"TargetModules {UntrustedText.Clean(targets.ToString())} match {other}, which is no linear layer: "
                + "adapters of embeddings and normalizations are not supported. Name linear layers, or train it as a whole (ModulesToSave)."]);
        if (isNew && targets.Names.FirstOrDefault(n => !linears.Any(l => ModuleSelection.EndsWith(l.Name, n))) is { } unknown)
            throw new ConfigurationException([$"TargetModules {unknown} is no linear layer of {model.Architecture}; it has {Available(linears)}."]);
    }

    /// <summary>What all-linear leaves out: the output layer, or a classifier's head.</summary>
    private static string[] Heads(PretrainedModel model) => model switch
    {
        CausalLM language => [language.Head.Layer.Name],
        SequenceClassifier => [.. model.Linears.Select(l => l.Name).Where(n => ((string[])["classifier", "score"]).Contains(n))],
        _ => [],
    };

    /// <summary>Modules that hold parameters themselves.</summary>
    private static IEnumerable<string> Leaves(PretrainedModel model) =>
        model.Parameters.Select(p => p.Key[..p.Key.LastIndexOf('.')]).Distinct();

    /// <summary>All modules, those that hold others first.</summary>
    private static IEnumerable<string> Modules(PretrainedModel model) => Leaves(model).Concat(model.Linears.Select(l => l.Name))
        .SelectMany(leaf => Enumerable.Range(0, leaf.Length).Where(i => leaf[i] == '.').Select(i => leaf[..i]).Append(leaf)).Distinct();

    private static string Shown(IReadOnlyList<string> modules)
    {
        // Blocks repeat: the names behind the last number.
        string[] ends = [.. modules.Select(n => Regex.Replace(n, @"^.*\.[0-9]+(\.|\z)", "")).Where(n => n.Length > 0).Distinct()];
        return string.Join(", ", ends.Take(MostShown)) + (ends.Length > MostShown ? ", …" : "");
    }
}
