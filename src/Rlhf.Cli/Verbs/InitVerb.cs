using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Hub;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Cli.Verbs;

/// <summary>Architectures that <c>rlhf init</c> makes.</summary>
internal enum ModelType
{
    Gpt2,
    Distilbert,
    Bert,
    Roberta,
}

/// <summary>How weights are stored in a file.</summary>
internal enum StorageType
{
    Float32,
    Float16,
    Bfloat16,
}

/// <summary>Shape of a new model.</summary>
internal sealed record InitFlags
{
    [Description("Architecture: gpt2 writes text, the others classify it.")]
    public ModelType ModelType { get; init; }

    [Description("Tokenizer folder, or org/name of the Hub, whose files and vocabulary size the model takes over.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput(Parts = HubModelParts.Tokenizer)]
    public string? Tokenizer { get; init; }

    [Description("Token ids; unset: the tokenizer's, else the architecture's usual number.")]
    public int? VocabSize { get; init; }

    [Description("Layers; unset: 12 (distilbert 6).")]
    public int? Layers { get; init; }

    [Description("Width of hidden states.")]
    public int HiddenSize { get; init; } = 768;

    [Description("Attention heads; must divide the width.")]
    public int Heads { get; init; } = 12;

    [Description("Width inside the feed-forward layers; unset: four times the width.")]
    public int? IntermediateSize { get; init; }

    [Description("Longest input in tokens; unset: 1024 for gpt2, 512 for the others.")]
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
        using PretrainedModel model = options.ModelType == ModelType.Gpt2
            ? new Gpt2LMHeadModel(Gpt2(options, tokenizer)) : Classifier(options, tokenizer);
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

    private static Gpt2Config Gpt2(InitFlags options, ITokenizer? tokenizer)
    {
        var usual = new Gpt2Config();
        int vocabulary = Vocabulary(options, tokenizer, usual.VocabSize);
        int? end = tokenizer is not null ? tokenizer.EosTokenId : usual.EosTokenId < vocabulary ? usual.EosTokenId : null;
        return usual with
        {
            VocabSize = vocabulary,
            NPositions = options.MaxPositions ?? usual.NPositions,
            NEmbd = options.HiddenSize,
            NLayer = options.Layers ?? usual.NLayer,
            NHead = options.Heads,
            NInner = options.IntermediateSize,
            ResidPdrop = options.Dropout,
            EmbdPdrop = options.Dropout,
            AttnPdrop = options.Dropout,
            BosTokenId = tokenizer?.BosTokenId ?? end,
            EosTokenId = end,
        };
    }

    private static SequenceClassifier Classifier(InitFlags options, ITokenizer? tokenizer)
    {
        EncoderConfig usual = options.ModelType switch
        {
            ModelType.Distilbert => new DistilBertConfig(),
            ModelType.Bert => new BertConfig(),
            _ => new RobertaConfig(),
        };
        if (tokenizer is { ClsTokenId: null })
            throw new ConfigurationException(
                [$"--tokenizer {options.Tokenizer} has no token that begins a classifier's input ([CLS] or <s>); "
                + "train one with rlhf tokenizer train --kind wordpiece."]);
        int pad = tokenizer?.PadTokenId ?? usual.PadTokenId;
        int positions = options.MaxPositions is not { } longest ? usual.MaxPositionEmbeddings
            : usual is RobertaConfig ? longest + pad + 1 : longest;
        return AutoModelForSequenceClassification.FromConfig(usual with
        {
            VocabSize = Vocabulary(options, tokenizer, usual.VocabSize),
            MaxPositionEmbeddings = positions,
            HiddenSize = options.HiddenSize,
            NumHiddenLayers = options.Layers ?? usual.NumHiddenLayers,
            NumAttentionHeads = options.Heads,
            IntermediateSize = options.IntermediateSize ?? 4 * options.HiddenSize,
            HiddenDropout = options.Dropout,
            AttentionDropout = options.Dropout,
            PadTokenId = pad,
            Labels = [.. options.Labels.Split(',', StringSplitOptions.TrimEntries)],
        });
    }

    private static int Vocabulary(InitFlags options, ITokenizer? tokenizer, int usual)
    {
        if (tokenizer is not null && options.VocabSize < tokenizer.VocabSize)
            throw new ConfigurationException(
                [$"--vocab-size is {options.VocabSize}, but the tokenizer has {tokenizer.VocabSize} tokens."]);
        return options.VocabSize ?? tokenizer?.VocabSize ?? usual;
    }

    /// <summary>libtorch's name of a storage type; null keeps float32.</summary>
    public static torch.ScalarType? ToScalarType(this StorageType storage) => storage switch
    {
        StorageType.Float16 => torch.ScalarType.Float16,
        StorageType.Bfloat16 => torch.ScalarType.BFloat16,
        _ => null,
    };
}
