using System.ComponentModel;
using System.Globalization;
using System.Text.RegularExpressions;
using Rlhf.Cli.Models;
using Rlhf.Cli.Settings;
using Rlhf.Hub;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Training.Memory;
using Rlhf.Weights;

namespace Rlhf.Cli.Flags;

/// <summary>
/// Train an adapter in place of all weights. A verb adds the flags (<see cref="AddLora"/>), puts the adapter on its model
/// (<see cref="Attach"/>), and trains and saves the model as it otherwise would.
/// </summary>
internal sealed partial record LoraFlags
{
    [Description("Train a LoRA adapter in place of all weights, and save it in PEFT's format.")]
    public bool Lora { get; init; }

    [Description("Rank of the adapter.")]
    public int LoraR { get; init; } = 16;

    [Description("Alpha of the adapter: its update is multiplied with alpha / rank.")]
    public double LoraAlpha { get; init; } = 32;

    [Description("Share of a layer's inputs that the adapter does not see while it is trained.")]
    public double LoraDropout { get; init; }

    [Description("Layers to adapt: ends of their names with commas between them, a regular expression for whole names, or all-linear; default: "
        + "the usual ones of the model's family.")]
    [ValueName("NAMES|REGEX|all-linear")]
    public string? LoraTargetModules { get; init; }

    [Description("Layers to leave out, likewise.")]
    [ValueName("NAMES|REGEX")]
    public string? LoraExcludeModules { get; init; }

    [Description("Modules to train and save as a whole, with commas between them, such as lm_head. A reward model's head always is.")]
    [ValueName("NAMES")]
    public string? LoraModulesToSave { get; init; }

    [Description("Numbers of the blocks to adapt, with commas between them; default: all.")]
    [ValueName("N,N")]
    public string? LoraLayers { get; init; }

    [Description("Other ranks by name of a layer or regular expression, such as q_proj=4,mlp.*=32.")]
    [ValueName("NAME=N,…")]
    public string? LoraRankPattern { get; init; }

    [Description("Other values of alpha, likewise.")]
    [ValueName("NAME=X,…")]
    public string? LoraAlphaPattern { get; init; }

    [Description("Biases to train as well: none, all, or those of the adapted layers.")]
    public LoraBias LoraBias { get; init; }

    [Description("What the adapter begins as.")]
    public LoraInit LoraInit { get; init; }

    [Description("Divide alpha by the root of the rank instead of the rank.")]
    public bool UseRslora { get; init; }

    [Description("Learn direction and magnitude of the weights apart (DoRA).")]
    public bool UseDora { get; init; }

    public IEnumerable<string> Validate()
    {
        if (!Lora)
            return this == new LoraFlags() ? [] : ["Settings of an adapter belong to Lora, which is not given."];
        try
        {
            return ToConfig().Validate().Select(InFlags);
        }
        catch (FormatException e)
        {
            return [e.Message];
        }
    }

    /// <summary>The library's settings.</summary>
    /// <exception cref="FormatException">A list cannot be read; the message names the setting.</exception>
    public LoraConfig ToConfig() => new()
    {
        R = LoraR,
        LoraAlpha = LoraAlpha,
        LoraDropout = LoraDropout,
        TargetModules = Selection(nameof(LoraTargetModules), LoraTargetModules),
        ExcludeModules = Selection(nameof(LoraExcludeModules), LoraExcludeModules),
        ModulesToSave = Parts(LoraModulesToSave),
        LayersToTransform = [.. Parts(LoraLayers).Select(p => Number(nameof(LoraLayers), p))],
        RankPattern = [.. Pairs(nameof(LoraRankPattern), LoraRankPattern)
            .Select(p => KeyValuePair.Create(p.Key, Number(nameof(LoraRankPattern), p.Value)))],
        AlphaPattern = [.. Pairs(nameof(LoraAlphaPattern), LoraAlphaPattern).Select(p => KeyValuePair.Create(p.Key,
            double.TryParse(p.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double alpha) ? alpha
            : throw new FormatException($"LoraAlphaPattern: '{p.Value}' is not a number.")))],
        Bias = LoraBias,
        InitLoraWeights = LoraInit,
        UseRslora = UseRslora,
        UseDora = UseDora,
    };

    /// <summary>Puts the adapter that the flags ask for on a model, to be trained in place of its weights; nothing where they ask for none.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="model">The model.</param>
    /// <param name="source">The folder that it was loaded from.</param>
    /// <param name="seed">Of the adapter's initial values.</param>
    /// <exception cref="ConfigurationException">A setting does not fit the model, or the model is an adapter itself.</exception>
    public static LoraAdapter? Attach(VerbContext context, PretrainedModel model, string source, long seed)
    {
        if (context.Settings.Get<LoraFlags>() is not { Lora: true } flags)
            return null;
        if (AdapterFolder.IsAdapter(source))
            throw new ConfigurationException([$"{source} is an adapter, and --lora trains a new one, whose base has to be a whole model: merge the adapter "
                + "first (rlhf merge) and name the result, or leave --lora out to train all weights of the two together."]);
        try
        {
            var hub = HubCache.Identify(source);
            return LoraAdapter.Attach(model, flags.ToConfig(), seed, hub?.Repo.Id ?? Path.GetFullPath(source), hub?.Commit);
        }
        catch (ConfigurationException e)
        {
            throw InFlags(context, e);
        }
    }

    /// <summary>A plan for training all weights as one for what the flags ask for.</summary>
    /// <param name="context">What the verb runs with.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="folder">The model's folder.</param>
    /// <param name="ownsReference">Is the reference of the plan a copy of the policy? An adapter needs none.</param>
    /// <param name="samples">Does the policy answer while it is trained?</param>
    /// <param name="classifies">Is the model a classifier, and no language model?</param>
    /// <param name="losesByToken">Is the loss a sum over tokens?</param>
    /// <exception cref="ConfigurationException">A setting does not fit the model.</exception>
    public static MemoryPlan Sized(VerbContext context, MemoryPlan plan, string folder, bool ownsReference = false, bool samples = false,
        bool classifies = false, bool losesByToken = false)
    {
        // What else is wrong with an adapter for a base is said when it is attached.
        if (context.Settings.Get<LoraFlags>() is not { Lora: true } flags || AdapterFolder.IsAdapter(folder))
            return plan;
        try
        {
            return plan.OfAdapter(ModelShape.Of(folder).Parameters, LoraAdapter.CountParameters(ModelConfig.Read(folder), flags.ToConfig(), classifies),
                context.Settings.Get<MemoryFlags>().BaseDtype, ownsReference, samples, losesByToken);
        }
        catch (ConfigurationException e)
        {
            throw InFlags(context, e);
        }
    }

    /// <summary>A model's sizes as the blocks compute under the adapter: natively where they know its updates.</summary>
    public static ModelShape Shaped(VerbContext context, ModelShape shape) => context.Settings.Get<LoraFlags>() is not { Lora: true } flags ? shape
        : shape with { HasFusedLayers = shape.HasFusedAdapters && !flags.UseDora && flags.LoraDropout == 0 };

    /// <summary>A check of verbs whose policies are trained without dropout.</summary>
    public static IEnumerable<string> WithoutDropout(BoundSettings settings) => settings.Get<LoraFlags>().LoraDropout > 0
        ? ["--lora-dropout is for training on examples: policies are trained without dropout; leave it out."] : [];

    /// <summary>How many weights a model has, and how many of them are trained: for the facts of a run.</summary>
    public static string Describe(PretrainedModel model)
    {
        long all = model.Parameters.ElementCount;
        if (model.Adapter is not { } adapter)
            return $"{all:N0} parameters, all trained";
        string ranks = adapter.Config.RankPattern.Count == 0 ? $"rank {adapter.Config.R}" : $"rank {adapter.Config.R} and others";
        return $"{all:N0} parameters; an adapter of {ranks} with {adapter.ElementCount:N0} is trained ({100.0 * adapter.ElementCount / all:0.##} %)";
    }

    /// <summary>The same for a model's card.</summary>
    public static IEnumerable<KeyValuePair<string, string>> Results(PretrainedModel model) =>
        model.Adapter is null ? [] : [new("weights trained", Describe(model))];

    private static ConfigurationException InFlags(VerbContext context, ConfigurationException e) =>
        new([.. e.Problems.Select(p => context.Settings.NameFlags(InFlags(p)))]);

    private static string InFlags(string problem) => LibraryName().Replace(problem, match => match.Value switch
    {
        "R" => nameof(LoraR),
        "InitLoraWeights" => nameof(LoraInit),
        "LayersToTransform" => nameof(LoraLayers),
        "LoraAlpha" or "LoraDropout" or "UseDora" or "UseRslora" => match.Value,
        var name => "Lora" + name,
    });

    [GeneratedRegex(@"\b(R|LoraAlpha|LoraDropout|TargetModules|ExcludeModules|ModulesToSave|LayersToTransform|RankPattern|AlphaPattern|InitLoraWeights|UseDora|UseRslora)\b")]
    private static partial Regex LibraryName();

    /// <summary>Names, unless there is a character that is in none.</summary>
    private static ModuleSelection? Selection(string name, string? text)
    {
        if (text is null)
            return null;
        if (text.AsSpan().IndexOfAny(@"\^$*+?()|[]{}") < 0 && !text.Equals(ModuleSelection.AllLinear.Pattern, StringComparison.OrdinalIgnoreCase))
            return ModuleSelection.Of(Parts(text));
        try
        {
            return ModuleSelection.Matching(text);
        }
        catch (FormatException e)
        {
            throw new FormatException($"{name}: {e.Message}", e);
        }
    }

    private static string[] Parts(string? text) =>
        text?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];

    private static IEnumerable<KeyValuePair<string, string>> Pairs(string name, string? text) => Parts(text).Select(part =>
        part.LastIndexOf('=') is var at and > 0 ? KeyValuePair.Create(part[..at].Trim(), part[(at + 1)..].Trim())
        : throw new FormatException($"{name}: '{part}' is not of the form NAME=NUMBER."));

    private static int Number(string name, string text) =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number
        : throw new FormatException($"{name}: '{text}' is not a whole number.");
}

/// <summary>Adds <see cref="LoraFlags"/> to a verb.</summary>
internal static class LoraFlagsBinding
{
    public static SettingsBinder AddLora(this SettingsBinder binder) => binder.Add("Adapter", new LoraFlags(), o => o.Validate());
}
