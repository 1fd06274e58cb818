// A web program that answers with models: ASP.NET Core's minimal API and Microsoft.Extensions.AI's IChatClient, of which there are three: Rlhf's,
// LLamaSharp's (llama.cpp) and ONNX Runtime GenAI's. The endpoints are the same for all, and know of none.
//
//   dotnet run -c Release --project samples/ChatServer
//       with the small review model that ships, which knows no roles and continues texts
//   dotnet run -c Release --project samples/ChatServer -- --rlhf runs/my-chat --llama my-chat.gguf --onnx my-chat-onnx
//       with a chat model of yours, or one of the Hub (--rlhf org/name), and with what rlhf export made of it; each of the three may be left out.
//       They may also stand in appsettings.json: { "rlhf": "runs/my-chat", "llama": "my-chat.gguf" }
//
//   curl http://localhost:5000/chat
//   curl http://localhost:5000/chat/rlhf -H "Content-Type: application/json" -d '{"text": "This movie was"}'
//   curl -N http://localhost:5000/chat/rlhf/stream -H "Content-Type: application/json" -d '{"text": "This movie was"}'
//
// docs/serving.md shows what comes of it.
using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Rlhf.Generation;

var builder = WebApplication.CreateBuilder(args);
string? rlhf = builder.Configuration["rlhf"], llama = builder.Configuration["llama"], onnx = builder.Configuration["onnx"];
if (rlhf is null && llama is null && onnx is null && (rlhf = FindShipped()) is null)
{
    Console.Error.WriteLine("There is no folder models/imdb-gpt2-tiny here or in a folder above. Run this inside a checkout of Rlhf, or name a model: "
        + "--rlhf with a model folder or a model of the Hub, --llama with a GGUF file, --onnx with a folder that rlhf export wrote.");
    return 2;
}

// The clients by their keys. Who wants one of them alone writes AddRlhfChatClient or AddSingleton<IChatClient>, and asks without a key.
if (rlhf is not null)
    builder.Services.AddKeyedRlhfChatClient("rlhf", rlhf, options => options.Batching = new() { MaxRows = 16, MaxWaiting = 100 });
if (llama is not null)
{
    builder.Services.AddSingleton(_ => new LlamaClients(llama));
    builder.Services.AddKeyedTransient("llama", (services, _) => services.GetRequiredService<LlamaClients>().Create());
}
if (onnx is not null)
    builder.Services.AddKeyedSingleton<IChatClient>("onnx", (_, _) => new OnnxClient(onnx));

var app = builder.Build();
string[] engines = [.. new[] { ("rlhf", rlhf), ("llama", llama), ("onnx", onnx) }.Where(e => e.Item2 is not null).Select(e => e.Item1)];

// Loads the models now rather than with the first request.
foreach (string engine in engines)
{
    try
    {
        app.Services.GetRequiredKeyedService<IChatClient>(engine);
    }
    catch (Exception e) // each runtime has exceptions of its own for a model that it cannot load
    {
        Console.Error.WriteLine($"--{engine}: {e.Message}");
        return 1;
    }
}

app.MapGet("/chat", () => engines);

app.MapPost("/chat/{engine}", async (string engine, Question question, IServiceProvider services, CancellationToken stop) =>
{
    if (services.GetKeyedService<IChatClient>(engine) is not { } client)
        return Unknown(engine);
    var answer = await client.GetResponseAsync(question.Text, question.Options(), stop);
    return Results.Ok(new { answer.Text, answer.FinishReason, answer.Usage?.OutputTokenCount });
});

app.MapPost("/chat/{engine}/stream", (string engine, Question question, IServiceProvider services, CancellationToken stop) =>
    services.GetKeyedService<IChatClient>(engine) is { } client
        ? Results.ServerSentEvents(Pieces(client, question, stop))
        : Unknown(engine));

app.Run();
return 0;

IResult Unknown(string engine) =>
    Results.Problem($"There is no {engine} here, only {string.Join(", ", engines)}.", statusCode: StatusCodes.Status404NotFound);

static async IAsyncEnumerable<string> Pieces(IChatClient client, Question question, [EnumeratorCancellation] CancellationToken stop)
{
    await foreach (var update in client.GetStreamingResponseAsync(question.Text, question.Options(), stop))
        if (update.Text != "")
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
/// <param name="Greedy">Takes the likeliest token each time.</param>
internal sealed record Question(string Text, int MaxTokens = 40, long? Seed = null, bool Greedy = false)
{
    // TopK = 1 is the likeliest token in all three; ONNX Runtime GenAI samples where TopP or TopK is set, else as its genai_config.json says.
    public ChatOptions Options() => Greedy
        ? new() { MaxOutputTokens = MaxTokens, TopK = 1 }
        : new() { MaxOutputTokens = MaxTokens, Seed = Seed, Temperature = 0.8f, TopP = 0.95f };
}
