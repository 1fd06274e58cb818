using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using Rlhf.Cli.Flags;
using Rlhf.Cli.Models;
using Rlhf.Cli.Runs;
using Rlhf.Cli.Settings;
using Rlhf.Cli.Terminal;
using Rlhf.Export;
using Rlhf.Runtime;

namespace Rlhf.Cli.Verbs;

/// <summary>What to export.</summary>
internal sealed record ExportFlags
{
    [Description("Model folder, the folder of a run, or a model of the Hub; an adapter stands for its base with the adapter merged into it.")]
    [ValueName("DIR|ORG/NAME")]
    [ModelInput]
    public string? Model { get; init; }

    [Description("What to write: transformers (a model folder), peft (an adapter alone), gguf (one file for llama.cpp, LLamaSharp, Ollama and LM Studio), onnx (a folder for ONNX Runtime and ONNX Runtime GenAI).")]
    [ValueName("NAME")]
    public string Format { get; init; } = "transformers";

    [Description("Element type of the stored weights. transformers, peft: float32, float16, bfloat16, float64, or auto for the stored ones; gguf: f16, f32, bf16, q8_0, q4_0, q4_1; onnx: float32, float16. Default: the first.")]
    [ValueName("TYPE")]
    public string? Dtype { get; init; }

    [Description("The same as --dtype, as the other commands call it.")]
    public StorageType Storage { get; init; }

    [Description("transformers: most bytes of one file of weights, such as 5GB or 500MiB; more is written in several. Default: one file.")]
    [ValueName("SIZE")]
    public string? MaxShardSize { get; init; }

    [Description("transformers, peft: keep a policy's value head, which plain language models do not have.")]
    public bool ValueHead { get; init; }

    [Description("gguf: write an adapter alone, which llama.cpp puts on the file of its base, instead of the merged model.")]
    public bool AdapterOnly { get; init; }

    public IEnumerable<string> Validate()
    {
        if (Model is null)
            yield return $"Model {ModelFolders.Missing}";
        if (!ExportFormats.All.Any(f => f.Name == Format))
            yield return ExportFormats.Unknown(Format);
        else
            foreach (string problem in ExportFormats.Problems(ExportFormats.Of(Format), Options()))
                yield return problem;
        if (MaxShardSize is { } size && FileSize.Parse(size) is null)
            yield return $"MaxShardSize is {size}; write a whole number and a unit, such as 5GB, 500MB or 2GiB.";
        if (Dtype is not null && Storage != default)
            yield return "Dtype and Storage mean the same; give one of the two.";
    }

    /// <summary>The options of the format.</summary>
    public ExportOptions Options() => new()
    {
        Type = Dtype ?? (Storage == default ? null : Storage.ToString().ToLowerInvariant()),
        ValueHead = ValueHead,
        MaxShardSize = MaxShardSize is null ? null : FileSize.Parse(MaxShardSize),
        AdapterOnly = AdapterOnly,
    };
}

/// <summary><c>rlhf export</c>: the same model in another form.</summary>
internal static class ExportVerb
{
    public static Command Create() => new VerbCommand(
        "export", "writes a model in another form: GGUF for llama.cpp and Ollama, ONNX, 16-bit weights, without its value head, in several files.",
        [
            "rlhf export --model runs/my-run --format gguf --dtype q8_0 --output my-model.gguf",
            "rlhf export --model runs/my-reward --format onnx --output my-reward",
            "rlhf export --model runs/my-run --storage float16 --output my-model",
        ],
        new SettingsBinder()
            .Add("Model", new ExportFlags(), o => o.Validate())
            .Add("Hub", new HubFlags(), o => o.Validate(), nameof(HubFlags.PushToHub), nameof(HubFlags.Private))
            .Add("Output", new OutputFlags()),
        Run);

    private static int Run(VerbContext context)
    {
        var (options, output) = (context.Settings.Get<ExportFlags>(), context.Settings.Get<OutputFlags>());
        var format = ExportFormats.Of(options.Format);
        string source = ModelFolders.Resolve(context, "--model", options.Model);
        string target = Target(format, output, ModelFolders.NameOf(source), options.Options());
        ExportResult result;
        try
        {
            result = format.Write(new(source, ModelFolders.NameOf(source))
            {
                BaseModel = ModelFolders.BaseModelOf(source),
                Command = context.CommandLine,
            }, target, options.Options());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && IsAbout(e, target))
        {
            throw new ConfigurationException([$"--output {target} cannot be made or written: {e.Message}"]);
        }

        if (context.Screen.Json)
        {
            context.Screen.WriteJson(new
            {
                ModelDir = result.Path,
                result.Architecture,
                result.Parameters,
                result.Bytes,
                Format = format.Name,
                Dtype = result.Type,
                result.Notes,
            });
            return ExitCode.Success;
        }
        context.Screen.Facts(result.Path,
        [
            ("model", result.Architecture), ("parameters", result.Parameters.ToString("N0", CultureInfo.InvariantCulture)),
            ("weights", $"{result.Bytes / 1e6:N1} MB, {result.Type}"),
        ]);
        foreach (string note in result.Notes)
            context.Screen.Line(Screen.Safe(note));
        return ExitCode.Success;
    }

    /// <summary>Did making or writing the target, or the folder that it lies in, fail? The system names it in quotation marks.</summary>
    private static bool IsAbout(Exception error, string target)
    {
        string full = Path.GetFullPath(target);
        return error.Message.Contains($"'{full}", StringComparison.Ordinal) || error.Message.Contains($"'{Path.GetDirectoryName(full)}'", StringComparison.Ordinal);
    }

    /// <summary>Where to write; nothing is made yet.</summary>
    /// <exception cref="ConfigurationException">No place was named, or something is in the way.</exception>
    private static string Target(IExportFormat format, OutputFlags output, string name, ExportOptions options)
    {
        if (format.FileExtension is not { } extension)
        {
            string folder = output.Output ?? throw new ConfigurationException(["--output is missing; name the folder of the new exported model."]);
            RunFolder.RefuseIfTaken(folder, output.Overwrite);
            return folder;
        }
        string named = output.Output ?? throw new ConfigurationException([$"--output is missing; name the new file, such as my-model{extension}."]);
        string file = named.EndsWith(extension, StringComparison.OrdinalIgnoreCase) && !Directory.Exists(named) ? named
            : Path.Combine(named, $"{Path.GetFileName(name)}-{options.Type ?? format.Types[0]}{extension}");
        if (Directory.Exists(file))
            throw new ConfigurationException([$"--output {file} is a folder; name a file."]);
        if (File.Exists(file) && !output.Overwrite)
            throw new ConfigurationException([$"--output {file} already exists; choose another name or add --overwrite."]);
        return file;
    }
}
