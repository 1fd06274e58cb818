using Rlhf.Generation;
using Rlhf.Tokenizers;
using Rlhf.Tokenizers.Chat;

namespace Rlhf.Serving;

/// <summary>A model while a request has it.</summary>
/// <param name="name">Its name.</param>
/// <param name="completer">Writes with it.</param>
/// <param name="template">Its chat template; null: it has none.</param>
/// <param name="turn">Ends the request's turn.</param>
internal sealed class ServedModel(string name, TextCompleter completer, ChatTemplate? template, IDisposable turn) : IDisposable
{
    public string Name => name;

    public TextCompleter Completer => completer;

    public ITokenizer Tokenizer => completer.Tokenizer;

    public ChatTemplate? Template => template;

    public void Dispose()
    {
        completer.Dispose();
        turn.Dispose();
    }
}
