using Rlhf.Generation;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>A model while a request has it, beside others that have it.</summary>
/// <param name="name">Its name.</param>
/// <param name="completer">Writes with it; stays whose it is.</param>
/// <param name="template">Its chat template; null: it has none.</param>
/// <param name="loan">Disposed when the request no longer needs the model; null: it stays anyway.</param>
internal sealed class ServedModel(string name, TextCompleter completer, ChatTemplate? template, IDisposable? loan = null) : IDisposable
{
    public string Name => name;

    public TextCompleter Completer => completer;

    public ITokenizer Tokenizer => completer.Tokenizer;

    public ChatTemplate? Template => template;

    public void Dispose() => loan?.Dispose();
}
