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
using Rlhf.Runtime;
using Rlhf.Runtime.Native;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Cli.Verbs;

/// <summary>What to merge.</summary>
internal sealed record MergeFlags
{
    [Description("Adapter to merge: a folder in PEFT's format, the folder of a run, or one of the Hub.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("Element type of the stored weights.")]
    public StorageType Storage { get; init; }

    public IEnumerable<string> Validate() => Model is null ? [$"Model {ModelFolders.Missing}"] : [];
}

/// <summary><c>rlhf merge</c>: an adapter and its base become one model.</summary>
internal static class MergeVerb
{
    public static Command Create() => new VerbCommand(
        "merge", "merges an adapter into its base model, and writes a whole model.",
        [
            "rlhf merge --model runs/my-adapter --output my-model",
            "rlhf merge --model org/some-adapter --base-model org/its-base --output my-model --storage bfloat16",
        ],
        new SettingsBinder()
            .Add("Model", new MergeFlags(), o => o.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .Add("Output", new OutputFlags()),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, output) = (context.Settings.Get<MergeFlags>(), context.Settings.Get<OutputFlags>());
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        if (!AdapterFolder.IsAdapter(source))
            throw new ConfigurationException([$"--model {source} is a whole model and no adapter; rlhf export writes it in another form."]);
        string target = output.Required("merged model");

        LibTorch.Initialize();
        var tokenizer = AutoTokenizer.FromPretrained(source);
        var file = LoraConfigFile.Read(source);
        string baseFolder = AdapterFolder.BaseOf(source);
        using PretrainedModel model = file.TaskType == "SEQ_CLS" || !AutoModelForCausalLM.Supports(source)
            ? AutoModelForSequenceClassification.FromPretrained(source) : AutoModelForCausalLM.FromPretrained(source);
        model.SavePretrained(target, options.Storage.ToScalarType());
        tokenizer.SavePretrained(target);
        new ModelCard(ModelFolders.NameOf(source) + ", merged",
            $"The model {ModelFolders.NameOf(baseFolder)} with the adapter {ModelFolders.NameOf(source)} merged into it by Rlhf (rlhf merge).")
        {
            PipelineTag = model is CausalLM ? "text-generation" : "text-classification",
            Tags = ["merge", "rlhf"],
            BaseModel = ModelFolders.BaseModelOf(baseFolder),
            Command = context.CommandLine,
        }.Save(target);

        long bytes = new FileInfo(Path.Combine(target, "model.safetensors")).Length;
        if (context.Screen.Json)
            context.Screen.WriteJson(new { ModelDir = target, model.Architecture, Parameters = model.Parameters.ElementCount, Bytes = bytes });
        else
            context.Screen.Facts(target,
            [
                ("model", $"{model.Architecture}, {model.Parameters.ElementCount.ToString("N0", CultureInfo.InvariantCulture)} parameters"),
                ("base", ModelFolders.PlaceOf(baseFolder)),
                ("adapter", $"{ModelFolders.PlaceOf(source)}, rank {file.Config.R}"),
                ("weights", $"{bytes / 1e6:N1} MB, {options.Storage.ToString().ToLowerInvariant()}"),
            ]);
        return ExitCode.Success;
    }
}
