using Rlhf.Tokenizers;

namespace Rlhf.Models;

/// <summary>Model and tokenizer of one folder.</summary>
internal static class TokenizerOf
{
    /// <summary>Refuses a tokenizer with more tokens than the model has embeddings: some texts would be read from memory that is none.</summary>
    /// <param name="folder">Their folder.</param>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="vocabSize">Tokens that the model knows.</param>
    /// <exception cref="InvalidDataException">They do not belong together.</exception>
    public static void RequireFit(string folder, ITokenizer tokenizer, int vocabSize)
    {
        if (tokenizer.VocabSize > vocabSize)
            throw new InvalidDataException(
                $"{folder}: the tokenizer has {tokenizer.VocabSize:N0} tokens but the model only {vocabSize:N0}; their files do not belong together.");
    }
}
