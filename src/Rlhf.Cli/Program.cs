using System.Text;
using Rlhf.Cli;
using Rlhf.Cli.Terminal;

Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
Console.SetOut(new UnbreakableWriter(Console.Out));
Console.SetError(new UnbreakableWriter(Console.Error));
return CommandLine.Invoke(args);
