using Rlhf.Cli.Flags;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;
using TorchSharp;

namespace Rlhf.Cli.Runs;

/// <summary>What a run saves, while it lasts and at its end: a model with its tokenizer, as a folder that every command takes.</summary>
/// <param name="saveModel">Writes the model into a folder, its weights in this element type; null keeps float32.</param>
/// <param name="tokenizer">The model's tokenizer.</param>
/// <param name="template">The chat template that the model is trained with; null where there is none.</param>
internal sealed class SavedModel(Action<string, torch.ScalarType?> saveModel, ITokenizer tokenizer, ChatTemplate? template = null)
{
    /// <summary>Writes the folder, the weights in float32.</summary>
    /// <param name="folder">The folder; made when it does not exist.</param>
    public void Save(string folder) => Save(folder, StorageType.Float32);

    /// <summary>Writes the folder.</summary>
    /// <param name="folder">The folder; made when it does not exist.</param>
    /// <param name="storage">Element type of the stored weights.</param>
    public void Save(string folder, StorageType storage)
    {
        saveModel(folder, storage.ToScalarType());
        tokenizer.SavePretrained(folder);
        template?.Save(folder);
    }
}
