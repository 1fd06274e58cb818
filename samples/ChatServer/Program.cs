// A web program that answers with a model: ASP.NET Core's minimal API, Microsoft.Extensions.AI's IChatClient, and nothing of Rlhf but the line that
// adds the model. Requests that come at once are answered in one batch; who closes the connection frees the model at the next token.
//
//   dotnet run -c Release --project samples/ChatServer
//       with the small review model that ships, which knows no roles and continues texts
//   dotnet run -c Release --project samples/ChatServer -- runs/my-chat
//       with a chat model of yours, or one of the Hub: org/name
//
//   curl http://localhost:5000/ask -H "Content-Type: application/json" -d '{"text": "This movie was"}'
//   curl -N http://localhost:5000/stream -H "Content-Type: application/json" -d '{"text": "This movie was"}'
using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Rlhf.Generation;

string model = args.FirstOrDefault(a => !a.StartsWith('-')) ?? FindShipped() ?? "";
if (model == "")
{
    Console.Error.WriteLine("There is no folder models/imdb-gpt2-tiny here or in a folder above. Run this inside a checkout of Rlhf, or name a model "
        + "folder or a model of the Hub.");
    return 2;
}
var builder = WebApplication.CreateBuilder();

// The one IChatClient of the program. The same model from another runtime goes beside it under a key of its own:
// builder.Services.AddKeyedSingleton<IChatClient>("other", …), which an endpoint takes with [FromKeyedServices("other")].
builder.Services.AddRlhfChatClient(model, options => options.Batching = new() { MaxRows = 16, MaxWaiting = 100 });

var app = builder.Build();

// Loads the model now rather than with the first request.
app.Services.GetRequiredService<IChatClient>();

app.MapPost("/ask", async (Question question, IChatClient client, CancellationToken stop) =>
{
    var answer = await client.GetResponseAsync(question.Text, question.Options(), stop);
    return new { answer.Text, answer.FinishReason, answer.Usage!.OutputTokenCount };
});

app.MapPost("/stream", (Question question, IChatClient client, CancellationToken stop) =>
    TypedResults.ServerSentEvents(Pieces(client, question, stop)));

app.Run();
return 0;

static async IAsyncEnumerable<string> Pieces(IChatClient client, Question question, [EnumeratorCancellation] CancellationToken stop)
{
    await foreach (var update in client.GetStreamingResponseAsync(question.Text, question.Options(), stop))
        yield return update.Text;
}

// The folder of the model that ships: above the current directory in a checkout.
static string? FindShipped()
{
    for (var folder = new DirectoryInfo(Directory.GetCurrentDirectory()); folder is not null; folder = folder.Parent)
        if (Path.Combine(folder.FullName, "models", "imdb-gpt2-tiny") is var found && File.Exists(Path.Combine(found, "config.json")))
            return found;
    return null;
}

/// <summary>What is asked.</summary>
/// <param name="Text">A message, or the beginning of a text.</param>
/// <param name="MaxTokens">Most tokens of the answer.</param>
/// <param name="Seed">The same seed and text give the same answer; without one, each is another.</param>
internal sealed record Question(string Text, int MaxTokens = 40, long? Seed = null)
{
    public ChatOptions Options() => new() { MaxOutputTokens = MaxTokens, Seed = Seed, Temperature = 0.8f };
}
