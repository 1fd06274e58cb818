using Rlhf.Tokenizers.Chat;

namespace Rlhf.Cli.Models;

/// <summary>The chat template that a command is to use.</summary>
internal static class ChatTemplates
{
    /// <summary>What --chat-template names, else the model's own.</summary>
    /// <param name="named">What --chat-template names; null: nothing.</param>
    /// <param name="folder">The model's folder.</param>
    /// <exception cref="ChatTemplateException">There is none; the message names the flag and the built-in one.</exception>
    public static ChatTemplate Of(string? named, string folder) =>
        named is null ? ChatTemplate.FromFolder(folder) : ChatTemplate.FromFile(named, folder);

    /// <summary>The same, or null where there is none.</summary>
    public static ChatTemplate? TryOf(string? named, string folder) =>
        named is null ? ChatTemplate.TryFromFolder(folder) : ChatTemplate.FromFile(named, folder);
}
