using Rlhf.Models;

namespace Rlhf.Export;

/// <summary>A model folder as transformers lays it out, which every command here and most programs of the field open.</summary>
public sealed class TransformersFormat : IExportFormat
{
    /// <inheritdoc/>
    public string Name => "transformers";

    /// <inheritdoc/>
    public string Summary => "a model folder for transformers, vLLM and this program: config.json, safetensors, tokenizer";

    /// <inheritdoc/>
    public string? FileExtension => null;

    /// <inheritdoc/>
    public IReadOnlyList<string> Types => ElementTypes.Torch;

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Options { get; } = [nameof(ExportOptions.ValueHead), nameof(ExportOptions.MaxShardSize)];

    /// <inheritdoc/>
    public ExportResult Write(ExportSource source, string target, ExportOptions options)
    {
        ExportFormats.Check(this, options);
        string type = ElementTypes.Of(this, options);
        var storeAs = ElementTypes.ToTorch(type);
        var tokenizer = ExportedModel.Tokenizer(source.Folder);
        var stored = ExportedModel.StoredNames(source.Folder);
        var (architecture, parameters, isLanguageModel) = Save();
        tokenizer.SavePretrained(target);
        ExportedModel.WriteCard(source, target, new ModelCard(source.Name, $"The model {source.Name}, exported by Rlhf (rlhf export).")
        {
            PipelineTag = isLanguageModel ? "text-generation" : "text-classification",
            Tags = ["rlhf"],
            BaseModel = source.BaseModel,
            Command = source.Command,
        });
        return new(target, architecture, parameters, Weights.WeightFiles.BytesIn(target), type == ElementTypes.Auto ? "as stored" : type);

        (string Architecture, long Parameters, bool IsLanguageModel) Save()
        {
            var plan = ExportedModel.Plan(source.Folder);
            if (ExportedModel.IsClassifier(source.Folder, stored))
            {
                using var classifier = AutoModelForSequenceClassification.FromPretrained(source.Folder, plan: plan);
                classifier.SavePretrained(target, storeAs, maxShardSize: options.MaxShardSize);
                return (classifier.Architecture, classifier.Parameters.ElementCount, false);
            }
            using var policy = CausalLMWithValueHead.FromPretrained(source.Folder, plan);
            bool hasHead = stored.Any(CheckpointNames.IsValueHead);
            policy.SavePretrained(target, storeAs, options.ValueHead && hasHead, options.MaxShardSize);
            return (policy.PretrainedModel.Architecture, policy.PretrainedModel.Parameters.ElementCount, true);
        }
    }
}
