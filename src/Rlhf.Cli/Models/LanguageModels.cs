using Rlhf.Models;
using Rlhf.Reporting;
using Rlhf.Runtime;
using Rlhf.Tokenizers;
using TorchSharp;

namespace Rlhf.Cli.Models;

/// <summary>What several verbs ask of a language model.</summary>
internal static class LanguageModels
{
    /// <summary>The token that ends a text; also checks that model and tokenizer belong together.</summary>
    /// <exception cref="InvalidDataException">They do not, or neither names an end token.</exception>
    public static int EndToken(string folder, CausalLM model, ITokenizer tokenizer)
    {
        TokenizerOf.RequireFit(folder, tokenizer, model.VocabSize);
        return tokenizer.EosTokenId ?? model.EosTokenId
            ?? throw new InvalidDataException(
                $"{folder}: neither the tokenizer nor config.json names an end token (eos_token_id).");
    }

    /// <summary>A model that a policy is to be held near to.</summary>
    /// <exception cref="ConfigurationException">It does not know the policy's tokens and lengths.</exception>
    public static CausalLM Reference(string folder, CausalLM policy, torch.Device device)
    {
        var reference = AutoModelForCausalLM.FromPretrained(folder, device);
        var (tokens, positions) = (policy.VocabSize, policy.MaxPositions);
        if (reference.VocabSize == tokens && reference.MaxPositions >= positions)
            return reference;
        using (reference)
            throw new ConfigurationException(
                [$"--ref-model {folder} has {reference.VocabSize:N0} tokens and {reference.MaxPositions:N0} positions, the "
                + $"policy {tokens:N0} and {positions:N0}; the reference must know the policy's tokens and lengths."]);
    }

    /// <summary>A device for people: cpu with its threads, or cuda:0.</summary>
    public static string DeviceName(torch.Device device) =>
        device.type == DeviceType.CPU ? $"cpu, {Numbers.Count(torch.get_num_threads(), "thread")}" : device.ToString();
}
