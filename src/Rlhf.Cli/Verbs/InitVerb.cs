using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Hub;
using Rlhf.Models;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;

namespace Rlhf.Cli.Verbs;

/// <summary>Shape of a new model.</summary>
internal sealed record InitFlags
{
    [Description("Architecture, by transformers' model_type: gpt2, llama, mistral, qwen2, qwen3, gemma2, gemma3_text, phi3, gpt_neox, olmo2 and smollm3 write text; distilbert, bert and roberta classify it.")]
    [ValueName("TYPE")]
    public string ModelType { get; init; } = "gpt2";

    [Description("Tokenizer folder, or org/name of the Hub, whose files and vocabulary size the model takes over.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput(Parts = HubModelParts.Tokenizer)]
    public string? Tokenizer { get; init; }

    [Description("Token ids; default: the tokenizer's, else the architecture's usual number.")]
    public int? VocabSize { get; init; }

    [Description("Layers; default: 12 (distilbert 6).")]
    public int? Layers { get; init; }

    [Description("Width of hidden states.")]
    public int HiddenSize { get; init; } = 768;

    [Description("Attention heads; must divide the width.")]
    public int Heads { get; init; } = 12;

    [Description("Width inside the feed-forward layers; default: four times the width.")]
    public int? IntermediateSize { get; init; }

    [Description("Longest input in tokens; default: 1024 for gpt2, 512 for the others.")]
    public int? MaxPositions { get; init; }

    [Description("Dropout while training.")]
    public double Dropout { get; init; } = 0.1;

    [Description("Labels of a classifier, with commas between them; one label makes a scalar head.")]
    [ValueName("NAMES")]
    public string Labels { get; init; } = "NEGATIVE,POSITIVE";

    [Description("Element type of the stored weights.")]
    public StorageType Storage { get; init; }

    [Description("Seed of the weights.")]
    public long Seed { get; init; }

    public IEnumerable<string> Validate()
    {
        (string, int?)[] sizes =
        [
            (nameof(VocabSize), VocabSize), (nameof(Layers), Layers), (nameof(HiddenSize), HiddenSize), (nameof(Heads), Heads),
            (nameof(IntermediateSize), IntermediateSize), (nameof(MaxPositions), MaxPositions),
        ];
        foreach (var (name, value) in sizes)
            if (value < 1) yield return $"{name} is {value}; it must be at least 1.";
        if (ModelFamilies.Find(ModelType.ToLowerInvariant()) is null)
            yield return $"ModelType is {ModelType}; it must be one of {string.Join(", ", ModelFamilies.All.Select(f => f.ModelType))}.";
        if (Heads > 0 && HiddenSize % Heads != 0)
            yield return $"Heads is {Heads}, which does not divide HiddenSize {HiddenSize}.";
        if (!(Dropout is >= 0 and < 1)) yield return $"Dropout is {Dropout}; it must be at least 0 and below 1.";
    }
}

/// <summary><c>rlhf init</c>: a model folder with random weights.</summary>
internal static class InitVerb
{
    public static Command Create() => new VerbCommand(
        "init", "makes a model of a given shape with random weights, ready for training.",
        [
            "rlhf init --tokenizer my-tokenizer --layers 6 --hidden-size 256 --heads 8 --output my-gpt2",
            "rlhf init --model-type distilbert --tokenizer my-wordpiece --layers 4 --hidden-size 192 --output my-classifier",
        ],
        new SettingsBinder()
            .Add("Model", new InitFlags(), o => o.Validate())
            .Add("Output", new OutputFlags()),
        Run);

    private static int Run(VerbContext context)
    {
        var options = context.Settings.Get<InitFlags>();
        string folder = context.Settings.Get<OutputFlags>().Required("model");
        LibTorch.Initialize();
        var tokenizer = options.Tokenizer is { } path
            ? AutoTokenizer.FromPretrained(ModelFolders.Resolve(context, "--tokenizer", path, HubModelParts.Tokenizer)) : null;
        var family = ModelFamilies.Find(options.ModelType.ToLowerInvariant())!;
        var config = Config(family, options, tokenizer);
        using PretrainedModel model = family.HasCausalLM ? AutoModelForCausalLM.FromConfig(config)
            : AutoModelForSequenceClassification.FromConfig(config);
        model.Initialize(options.Seed);
        model.SavePretrained(folder, options.Storage.ToScalarType());
        tokenizer?.SavePretrained(folder);
        Report(context.Screen, folder, model, tokenizer);
        return ExitCode.Success;
    }

    private static void Report(Screen screen, string folder, PretrainedModel model, ITokenizer? tokenizer)
    {
        long parameters = model.Parameters.ElementCount;
        if (screen.Json)
            screen.WriteJson(new { ModelDir = folder, model.Architecture, Parameters = parameters });
        else
            screen.Facts(folder,
            [
                ("model", model.Architecture), ("parameters", parameters.ToString("N0", CultureInfo.InvariantCulture)),
                ("tokenizer", tokenizer is null ? "none: add one before training" : $"{tokenizer.VocabSize:N0} tokens"),
            ]);
    }

    private static ModelConfig Config(ModelFamily family, InitFlags options, ITokenizer? tokenizer)
    {
        if (!family.HasCausalLM && tokenizer is { ClsTokenId: null })
            throw new ConfigurationException(
                [$"--tokenizer {options.Tokenizer} has no token that begins a classifier's input ([CLS] or <s>); "
                + "train one with rlhf tokenizer train --kind wordpiece."]);
        var config = family.NewConfig(new NewModelSizes
        {
            VocabSize = Vocabulary(options, tokenizer),
            Layers = options.Layers,
            HiddenSize = options.HiddenSize,
            Heads = options.Heads,
            IntermediateSize = options.IntermediateSize,
            MaxPositions = options.MaxPositions,
            Dropout = options.Dropout,
            BosTokenId = tokenizer?.BosTokenId,
            EosTokenId = tokenizer?.EosTokenId,
            PadTokenId = tokenizer?.PadTokenId,
            Labels = family.HasCausalLM ? null : [.. options.Labels.Split(',', StringSplitOptions.TrimEntries)],
        });
        return tokenizer is { EosTokenId: null } && family.HasCausalLM
            ? config.With("eos_token_id", null).With("bos_token_id", tokenizer.BosTokenId) : config;
    }

    private static int? Vocabulary(InitFlags options, ITokenizer? tokenizer)
    {
        if (tokenizer is not null && options.VocabSize < tokenizer.VocabSize)
            throw new ConfigurationException(
                [$"--vocab-size is {options.VocabSize}, but the tokenizer has {tokenizer.VocabSize} tokens."]);
        return options.VocabSize ?? tokenizer?.VocabSize;
    }
}
