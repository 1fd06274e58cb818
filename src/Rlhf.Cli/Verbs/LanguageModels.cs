using Rlhf.Models;
using Rlhf.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Cli.Verbs;

/// <summary>What several verbs ask of a language model.</summary>
internal static class LanguageModels
{
    /// <summary>The token that ends a text; also checks that model and tokenizer belong together.</summary>
    /// <exception cref="InvalidDataException">They do not, or neither names an end token.</exception>
    public static int EndToken(string folder, CausalLM model, ITokenizer tokenizer)
    {
        if (tokenizer.VocabSize > model.VocabSize)
            throw new InvalidDataException(
                $"{folder}: the tokenizer has {tokenizer.VocabSize:N0} tokens but the model only {model.VocabSize:N0}; "
                + "their files do not belong together.");
        return tokenizer.EosTokenId ?? model.EosTokenId
            ?? throw new InvalidDataException(
                $"{folder}: neither the tokenizer nor config.json names an end token (eos_token_id).");
    }

    /// <summary>After a run that failed: saves the weights if they can still be used, and says where good ones are.</summary>
    /// <param name="parameters">The model's parameters.</param>
    /// <param name="save">Saves the model.</param>
    /// <param name="folder">Where it saves to.</param>
    /// <param name="source">The model that training began with.</param>
    public static void Rescue(IEnumerable<Tensor> parameters, Action save, string folder, string source)
    {
        using var scope = torch.NewDisposeScope();
        bool finite = parameters.All(p => p.isfinite().all().ToBoolean());
        if (finite)
            save();
        Console.Error.WriteLine(finite
            ? $"rlhf: the weights from before the step that failed are in {folder}; the run began with {source}."
            : $"rlhf: the weights are not finite any more and were not saved; begin again with {source}.");
    }

    /// <summary>A device for people: cpu with its threads, or cuda:0.</summary>
    public static string DeviceName(torch.Device device) =>
        device.type == DeviceType.CPU ? $"cpu, {torch.get_num_threads()} threads" : device.ToString();
}
