using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Cli.Verbs;

/// <summary>What to export.</summary>
internal sealed record ExportFlags
{
    [Description("Model folder, the folder of a run, or a model of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Element type of the stored weights.")]
    public StorageType Storage { get; init; }

    [Description("Keep a policy's value head, which plain language models do not have.")]
    public bool ValueHead { get; init; }

    public IEnumerable<string> Validate() => Model is null ? [$"Model {ModelFolders.Missing}"] : [];
}

/// <summary><c>rlhf export</c>: the same model in another form.</summary>
internal static class ExportVerb
{
    public static Command Create() => new VerbCommand(
        "export", "writes a model in another form: 16-bit weights, without its value head, safetensors instead of .bin.",
        ["rlhf export --model runs/my-run --storage float16 --output my-model"],
        new SettingsBinder()
            .Add("Model", new ExportFlags(), o => o.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .Add("Output", new OutputFlags()),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, output) = (context.Settings.Get<ExportFlags>(), context.Settings.Get<OutputFlags>());
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        var tokenizer = AutoTokenizer.FromPretrained(source);
        TokenizerOf.RequireFit(source, tokenizer, ModelShape.Of(source).VocabSize);
        string target = output.Required("exported model");

        LibTorch.Initialize();
        var (architecture, parameters) = Save(source, target, options);
        tokenizer.SavePretrained(target);
        if (RegularFile.Exists(Path.Combine(source, "README.md")))
            File.Copy(Path.Combine(source, "README.md"), Path.Combine(target, "README.md"), overwrite: true);

        long bytes = new FileInfo(Path.Combine(target, "model.safetensors")).Length;
        if (context.Screen.Json)
            context.Screen.WriteJson(
                new { ModelDir = target, Architecture = architecture, Parameters = parameters, Bytes = bytes });
        else
            context.Screen.Facts(target,
            [
                ("model", architecture), ("parameters", parameters.ToString("N0", CultureInfo.InvariantCulture)),
                ("weights", $"{bytes / 1e6:N1} MB, {options.Storage.ToString().ToLowerInvariant()}"),
            ]);
        return ExitCode.Success;
    }

    private static (string Architecture, long Parameters) Save(string source, string target, ExportFlags options)
    {
        var storage = options.Storage.ToScalarType();
        HashSet<string> stored;
        using (var weights = AdapterFolder.IsAdapter(source) ? LoraAdapter.OpenWeights(source) : WeightFiles.Open(source))
            stored = [.. weights.Names];
        // A language model's trunk under a classifier's head is a classifier.
        if (!AutoModelForCausalLM.Supports(source) || stored.Any(name => name.EndsWith("score.weight", StringComparison.Ordinal)))
        {
            using var classifier = AutoModelForSequenceClassification.FromPretrained(source);
            classifier.SavePretrained(target, storage);
            return (classifier.Architecture, classifier.Parameters.ElementCount);
        }
        using var policy = CausalLMWithValueHead.FromPretrained(source);
        bool hasHead = stored.Any(name => name.StartsWith("v_head.", StringComparison.Ordinal));
        policy.SavePretrained(target, storage, includeValueHead: options.ValueHead && hasHead);
        return (policy.PretrainedModel.Architecture, policy.PretrainedModel.Parameters.ElementCount);
    }
}
