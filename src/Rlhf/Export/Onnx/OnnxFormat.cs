using Rlhf.Models;

namespace Rlhf.Export.Onnx;

/// <summary>
/// A folder for ONNX Runtime: model.onnx, config.json and the tokenizer; of a language model also genai_config.json for ONNX Runtime GenAI
/// (<see cref="OnnxModel"/>).
/// </summary>
public sealed class OnnxFormat : IExportFormat
{
    /// <inheritdoc/>
    public string Name => "onnx";

    /// <inheritdoc/>
    public string Summary => "a folder for ONNX Runtime, and ONNX Runtime GenAI where it is a language model, tokenizer included";

    /// <inheritdoc/>
    public string? FileExtension => null;

    /// <inheritdoc/>
    public IReadOnlyList<string> Types { get; } = ["float32", "float16"];

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Options => [];

    /// <inheritdoc/>
    public ExportResult Write(ExportSource source, string target, ExportOptions options)
    {
        ExportFormats.Check(this, options);
        string type = ElementTypes.Of(this, options);
        var tokenizer = ExportedModel.Tokenizer(source.Folder);
        var plan = ExportedModel.Plan(source.Folder);
        bool isClassifier = ExportedModel.IsClassifier(source.Folder, ExportedModel.StoredNames(source.Folder));
        using PretrainedModel model = isClassifier ? AutoModelForSequenceClassification.FromPretrained(source.Folder, plan: plan)
            : AutoModelForCausalLM.FromPretrained(source.Folder, plan);
        var (parameters, bytes, notes) = Save();
        model.Configuration.Save(target, withGeneration: !isClassifier);
        tokenizer.SavePretrained(target);
        ExportedModel.WriteCard(source, target, new ModelCard(source.Name, $"The model {source.Name} as ONNX, exported by Rlhf (rlhf export).")
        {
            PipelineTag = isClassifier ? "text-classification" : "text-generation",
            Tags = ["onnx", "rlhf"],
            BaseModel = source.BaseModel,
            Command = source.Command,
        });
        return new(target, model.Architecture, parameters, bytes, type) { Notes = notes };

        (long Parameters, long Bytes, string[] Notes) Save()
        {
            bool storesHalf = type == "float16";
            try
            {
                if (model is SequenceClassifier classifier)
                    return OnnxModel.Save(classifier, target, storesHalf) is var written ? (written.Parameters, written.Bytes, []) : default;
                var causal = (CausalLM)model;
                var (count, size, maxLength) = OnnxModel.Save(causal, target, storesHalf);
                return (count, size, maxLength == causal.MaxPositions ? [] : [$"Texts have at most {maxLength} tokens in this form, of {causal.MaxPositions}: "
                    + "in longer ones the model turns its rotary positions otherwise, and keys that are kept cannot be turned anew."]);
            }
            catch (NotSupportedException e)
            {
                throw new InvalidDataException($"{source.Folder}: {e.Message}", e);
            }
        }
    }
}
