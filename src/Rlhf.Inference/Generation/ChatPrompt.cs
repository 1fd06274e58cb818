using Rlhf.Tokenizers.Chat;

namespace Rlhf.Generation;

/// <summary>A conversation that is ready to be answered.</summary>
/// <param name="Ids">Token ids up to where the assistant speaks.</param>
/// <param name="Messages">The messages that they stand for: all, or what was left of a conversation that was too long.</param>
/// <param name="Options">How it is answered: with the number of tokens, and with what ends the assistant's turn.</param>
public sealed record ChatPrompt(int[] Ids, IReadOnlyList<ChatMessage> Messages, CompletionOptions Options);
