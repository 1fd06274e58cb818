using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Runtime.Native;
using Rlhf.Runtime.Text;
using Rlhf.Tokenizers;
using Rlhf.Weights;
using static TorchSharp.torch;

namespace Rlhf.Export;

/// <summary>An adapter alone, as PEFT saves it: adapter_config.json and adapter_model.safetensors.</summary>
public sealed class PeftFormat : IExportFormat
{
    /// <inheritdoc/>
    public string Name => "peft";

    /// <inheritdoc/>
    public string Summary => "an adapter alone, for PEFT, vLLM and this program";

    /// <inheritdoc/>
    public string? FileExtension => null;

    /// <inheritdoc/>
    public IReadOnlyList<string> Types => ElementTypes.Torch;

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Options { get; } = [nameof(ExportOptions.ValueHead), nameof(ExportOptions.AdapterOnly)];

    /// <inheritdoc/>
    public ExportResult Write(ExportSource source, string target, ExportOptions options)
    {
        ExportFormats.Check(this, options);
        if (!AdapterFolder.IsAdapter(source.Folder))
            throw new ConfigurationException([$"{source.Folder} is a whole model and no adapter; the format transformers writes it."]);
        string type = ElementTypes.Of(this, options);
        var storeAs = ElementTypes.ToTorch(type);
        var file = LoraConfigFile.Read(source.Folder);
        var tokenizer = AutoTokenizer.HasOwn(source.Folder) ? AutoTokenizer.FromPretrained(source.Folder) : null;
        LibTorch.Initialize();
        using var scope = NewDisposeScope();
        using var weights = LoraAdapter.OpenWeights(source.Folder);
        var tensors = weights.ReadAll();
        var adapter = tensors.Where(t => !CheckpointNames.IsValueHead(t.Key)).OrderBy(t => t.Key, StringComparer.Ordinal).ToArray();
        if (adapter.FirstOrDefault(t => !t.Key.StartsWith("base_model.", StringComparison.Ordinal)).Key is { } stranger)
            throw new InvalidDataException($"{weights.Path}: {UntrustedText.Quote(stranger)} is no tensor of an adapter that PEFT saved.");

        Directory.CreateDirectory(target);
        SafeTensors.Save(Path.Combine(target, LoraAdapter.WeightsName), adapter, storeAs: storeAs);
        if (options.ValueHead && ValueHead(source.Folder) is { Count: > 0 } head)
            WeightFiles.Save(target, head, storeAs);
        foreach (string name in (string[])[LoraConfigFile.Name, "config.json"]) // a classifier's labels are in its config.json
            if (RegularFile.Exists(Path.Combine(source.Folder, name)))
            {
                var content = BoundedFile.Read(Path.Combine(source.Folder, name), ModelConfig.MaxBytes, "an adapter's configuration");
                AtomicFile.Write(Path.Combine(target, name), stream => stream.Write(content));
            }
        tokenizer?.SavePretrained(target);
        ExportedModel.WriteCard(source, target, new ModelCard(source.Name, $"The adapter {source.Name}, exported by Rlhf (rlhf export).")
        {
            PipelineTag = file.TaskType == "SEQ_CLS" ? "text-classification" : "text-generation",
            Tags = ["rlhf"],
            BaseModel = source.BaseModel,
            Command = source.Command,
        });
        return new(target, $"LoRA of rank {file.Config.R}", adapter.Sum(t => t.Value.numel()),
            new FileInfo(Path.Combine(target, LoraAdapter.WeightsName)).Length, type == ElementTypes.Auto ? "as stored" : type);
    }

    /// <summary>The head of a policy that was trained with an adapter lies beside the adapter.</summary>
    private static List<KeyValuePair<string, Tensor>> ValueHead(string folder)
    {
        if (!WeightFiles.FileNames.Any(f => File.Exists(Path.Combine(folder, f))))
            return [];
        using var weights = WeightFiles.Open(folder);
        return [.. weights.ReadAll().Where(t => CheckpointNames.IsValueHead(t.Key))];
    }
}
